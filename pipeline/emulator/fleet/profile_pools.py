"""The configuration half of each profile's pool JSON: images, disks, networks, mounts, accounts."""

from typing import Any

from ..streams import fake_guid, fake_secret

Json = dict[str, Any]

_GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/farm"
_IDENTITY = f"{_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/farm-id"
_NETWORK = f"{_GROUP}/providers/Microsoft.Network"
_DISK_ENCRYPTION = f"{_GROUP}/providers/Microsoft.Compute/diskEncryptionSets/farm"
_GALLERY = f"{_GROUP}/providers/Microsoft.Compute/galleries/farm"
_IN_VM_ACCESS = f"{_GALLERY}/inVMAccessControlProfiles/batch/versions/1.0.0"


def _upgrade_policy(mode: str) -> Json:
    return {
        "mode": mode,
        "automaticOSUpgradePolicy": {
            "disableAutomaticRollback": False,
            "enableAutomaticOSUpgrade": mode == "automatic",
            "useRollingUpgradePolicy": True,
            "osRollingUpgradeDeferral": True,
        },
        "rollingUpgradePolicy": {
            "enableCrossZoneUpgrade": True,
            "maxBatchInstancePercent": 20,
            "maxUnhealthyInstancePercent": 20,
            "maxUnhealthyUpgradedInstancePercent": 20,
            "pauseTimeBetweenBatches": "PT5S",
            "prioritizeUnhealthyInstances": True,
            "rollbackFailedInstancesOnPolicyBreach": False,
        },
    }


def render(pool_id: str) -> Json:
    """A Linux pool from a marketplace image, with disks, mounts and an NFS share."""
    return {
        "displayName": "Rendering, frames",
        "virtualMachineConfiguration": {
            "imageReference": {
                "publisher": "canonical",
                "offer": "ubuntu-24_04-lts",
                "sku": "server",
                "version": "latest",
                "exactVersion": "24.04.20261001",
            },
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
            "dataDisks": [
                {
                    "lun": 0,
                    "caching": "ReadOnly",
                    "diskSizeGB": 256,
                    "storageAccountType": "premium_lrs",
                    "managedDisk": {
                        "storageAccountType": "premium_lrs",
                        "diskEncryptionSet": {"id": _DISK_ENCRYPTION},
                        "securityProfile": {"securityEncryptionType": "DiskWithVMGuestState"},
                    },
                }
            ],
            "diskEncryptionConfiguration": {
                "targets": ["osdisk", "temporarydisk"],
                "customerManagedKey": {
                    "identityReference": {"resourceId": _IDENTITY},
                    "keyUrl": "https://farm-keys.vault.azure.net/keys/disks/7",
                    "rotationToLatestKeyVersionEnabled": True,
                },
            },
            "hardwareProfile": {"vmSizeProperties": {"vCPUsAvailable": 8, "vCPUsPerCore": 1}},
            "placement": {"zonePlacementPolicy": "Auto"},
            "resiliencyPolicy": {
                "zoneAllocationPolicy": {
                    "maxZoneCount": 3,
                    "maxInstancePercentPerZonePolicy": {"enabled": True, "value": 60},
                }
            },
            "nodePlacementConfiguration": {"policy": "Zonal"},
            "extensions": [
                {
                    "name": "monitor",
                    "publisher": "Microsoft.Azure.Monitor",
                    "type": "AzureMonitorLinuxAgent",
                    "typeHandlerVersion": "1.33",
                    "autoUpgradeMinorVersion": True,
                    "enableAutomaticUpgrade": True,
                    "settings": {"workspace": "farm-logs"},
                    "protectedSettings": {"workspaceKey": fake_secret(pool_id, "logs")},
                    "provisionAfterExtensions": ["network"],
                },
                {
                    "name": "network",
                    "publisher": "Microsoft.Azure.NetworkWatcher",
                    "type": "NetworkWatcherAgentLinux",
                },
            ],
            "osDisk": {
                "ephemeralOSDiskSettings": {"placement": "CacheDisk"},
                "caching": "ReadWrite",
                "diskSizeGB": 128,
                "writeAcceleratorEnabled": False,
            },
            "securityProfile": {
                "securityType": "trustedLaunch",
                "encryptionAtHost": True,
                "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
                "proxyAgentSettings": {
                    "enabled": True,
                    "imds": {"mode": "Audit", "inVMAccessControlProfileReferenceId": _IN_VM_ACCESS},
                    "wireServer": {
                        "mode": "Enforce",
                        "inVMAccessControlProfileReferenceId": _IN_VM_ACCESS,
                    },
                },
            },
        },
        "networkConfiguration": {
            "subnetId": f"{_NETWORK}/virtualNetworks/farm/subnets/render",
            "dynamicVNetAssignmentScope": "none",
            "endpointConfiguration": {
                "inboundNATPools": [
                    {
                        "name": "Metrics",
                        "protocol": "tcp",
                        "backendPort": 9100,
                        "frontendPortRangeStart": 60000,
                        "frontendPortRangeEnd": 60999,
                        "networkSecurityGroupRules": [
                            {
                                "priority": 150,
                                "access": "allow",
                                "sourceAddressPrefix": "10.20.0.0/16",
                                "sourcePortRanges": ["*"],
                            }
                        ],
                    }
                ]
            },
            "publicIPAddressConfiguration": {
                "provision": "userManaged",
                "ipAddressIds": [f"{_NETWORK}/publicIPAddresses/farm-out"],
                "ipFamilies": ["IPv4", "IPv6"],
                "ipTags": [{"ipTagType": "FirstPartyUsage", "tag": "/farm"}],
            },
            "enableAcceleratedNetworking": True,
        },
        "applicationPackageReferences": [
            {
                "applicationId": f"{_GROUP}/providers/Microsoft.Batch/batchAccounts/emulated"
                "/applications/blender",
                "version": "4.2",
            }
        ],
        "userAccounts": [
            {
                "name": "artist",
                "password": fake_secret(pool_id, "artist")[:16],
                "elevationLevel": "nonAdmin",
                "linuxUserConfiguration": {
                    "uid": 1500,
                    "gid": 1500,
                    "sshPrivateKey": "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                    f"{fake_secret(pool_id, 'ssh')}\n-----END OPENSSH PRIVATE KEY-----\n",
                },
            }
        ],
        "metadata": [
            {"name": "owner", "value": "rendering"},
            {"name": "webhook", "value": f"https://hooks.example/{fake_guid(pool_id)}"},
        ],
        "mountConfiguration": [
            {
                "azureBlobFileSystemConfiguration": {
                    "accountName": "farmassets",
                    "containerName": "textures",
                    "accountKey": fake_secret(pool_id, "blobfuse"),
                    "blobfuseOptions": "-o attr_timeout=240",
                    "relativeMountPath": "textures",
                }
            },
            {
                "nfsMountConfiguration": {
                    "source": "10.20.0.10:/scenes",
                    "relativeMountPath": "scenes",
                    "mountOptions": "-o vers=4.1",
                }
            },
        ],
        "identity": {
            "type": "UserAssigned",
            "userAssignedIdentities": [
                {
                    "resourceId": _IDENTITY,
                    "clientId": fake_guid("client"),
                    "principalId": fake_guid("principal"),
                }
            ],
        },
        "targetNodeCommunicationMode": "simplified",
        "currentNodeCommunicationMode": "simplified",
        "upgradePolicy": _upgrade_policy("automatic"),
        "resourceTags": {"dept": "pictures", "env": "prod"},
    }


def spot(pool_id: str) -> Json:
    """A Linux pool of mostly spot nodes from a shared gallery image, for coupled jobs."""
    return {
        "displayName": "Simulation on spot nodes",
        "virtualMachineConfiguration": {
            "imageReference": {
                "sharedGalleryImageId": "/sharedGalleries/11111111-2222-farm-gallery/images/solver"
            },
            "nodeAgentSKUId": "batch.node.ubuntu 22.04",
            "nodePlacementConfiguration": {"policy": "Regional"},
            "osDisk": {
                "caching": "ReadOnly",
                "managedDisk": {
                    "storageAccountType": "standardssd_lrs",
                    "diskEncryptionSet": {"id": _DISK_ENCRYPTION},
                    "securityProfile": {"securityEncryptionType": "VMGuestStateOnly"},
                },
            },
            "securityProfile": {"securityType": "confidentialVM"},
            "serviceArtifactReference": {
                "id": f"{_GROUP}/providers/Microsoft.Compute/galleries/farm/serviceArtifacts/sim"
                "/vmArtifactsProfiles/stable"
            },
        },
        "networkConfiguration": {
            "publicIPAddressConfiguration": {"provision": "noPublicIPAddresses"},
        },
        "userAccounts": [
            {
                "name": "sim",
                "password": fake_secret(pool_id, "sim")[:16],
                "elevationLevel": "admin",
            }
        ],
        "mountConfiguration": [
            {
                "azureBlobFileSystemConfiguration": {
                    "accountName": "simstore",
                    "containerName": "results",
                    "sasKey": f"sv=2024-11-04&sr=c&sp=rw&sig={fake_secret(pool_id, 'sas')}",
                    "relativeMountPath": "results",
                }
            },
            {
                "azureBlobFileSystemConfiguration": {
                    "accountName": "simstore",
                    "containerName": "meshes",
                    "relativeMountPath": "meshes",
                    "identityReference": {"resourceId": _IDENTITY},
                }
            },
        ],
        "targetNodeCommunicationMode": "default",
        "currentNodeCommunicationMode": "simplified",
        "upgradePolicy": _upgrade_policy("rolling"),
        "resourceTags": {"dept": "engineering"},
    }


def containers(pool_id: str) -> Json:
    """A Linux pool that runs containers from a private registry, on a custom image."""
    return {
        "displayName": "Training, in containers",
        "virtualMachineConfiguration": {
            "imageReference": {
                "virtualMachineImageId": f"{_GROUP}/providers/Microsoft.Compute/galleries/farm"
                "/images/cuda"
            },
            "nodeAgentSKUId": "batch.node.ubuntu 22.04",
            "containerConfiguration": {
                "type": "dockerCompatible",
                "containerImageNames": ["farmregistry.azurecr.io/train/base:7"],
                "containerRegistries": [
                    {
                        "username": "farmregistry",
                        "password": fake_secret(pool_id, "registry"),
                        "registryServer": "farmregistry.azurecr.io",
                    },
                    {
                        "registryServer": "spare.azurecr.io",
                        "identityReference": {"resourceId": _IDENTITY},
                    },
                ],
            },
        },
        "metadata": [{"name": "project", "value": "vision"}],
        "mountConfiguration": [
            {
                "cifsMountConfiguration": {
                    "username": "train",
                    "source": "//10.20.0.12/datasets",
                    "relativeMountPath": "datasets",
                    "mountOptions": "-o vers=3.0,dir_mode=0777",
                    "password": fake_secret(pool_id, "cifs")[:24],
                }
            },
        ],
        "targetNodeCommunicationMode": "simplified",
        "currentNodeCommunicationMode": "simplified",
        "resourceTags": {"dept": "research"},
    }


def windows(pool_id: str) -> Json:
    """A Windows pool with certificates and a file share, on a community image."""
    return {
        "displayName": "Rendering on Windows",
        "virtualMachineConfiguration": {
            "imageReference": {
                "communityGalleryImageId": "/communityGalleries/farm-0a1b2c3d/images/winrender"
            },
            "nodeAgentSKUId": "batch.node.windows amd64",
            "windowsConfiguration": {"enableAutomaticUpdates": False},
            "licenseType": "Windows_Server",
        },
        "certificateReferences": [
            {
                "thumbprint": fake_guid("certificate").replace("-", "") + "0a0b0c0d",
                "thumbprintAlgorithm": "sha1",
                "storeLocation": "LocalMachine",
                "storeName": "My",
                "visibility": ["starttask", "task"],
            }
        ],
        "userAccounts": [
            {
                "name": "operator",
                "password": fake_secret(pool_id, "operator")[:16],
                "elevationLevel": "admin",
                "windowsUserConfiguration": {"loginMode": "interactive"},
            }
        ],
        "mountConfiguration": [
            {
                "azureFileShareConfiguration": {
                    "accountName": "winassets",
                    "azureFileUrl": "https://winassets.file.core.windows.net/projects",
                    "accountKey": fake_secret(pool_id, "files"),
                    "relativeMountPath": "S",
                    "mountOptions": "/persistent:Yes",
                }
            },
        ],
        "identity": {"type": "None"},
        "targetNodeCommunicationMode": "classic",
        "currentNodeCommunicationMode": "classic",
        "upgradePolicy": {"mode": "manual"},
    }
