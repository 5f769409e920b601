"""The four profiles of pools: between them they use every optional field of the contract.

All names, keys and signatures are made up; they look real so that redaction shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..streams import digest, fake_guid, fake_secret
from ..times import HOUR, service_time
from . import profile_pools as pools

Json = dict[str, Any]

_SUBSCRIPTION = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/farm"
_IDENTITY = f"{_SUBSCRIPTION}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/farm-id"


def sas_url(account: str, path: str, expires: int) -> str:
    """Return a blob URL with a made-up shared access signature that ends at ``expires``."""
    ends = service_time(expires // HOUR * HOUR).replace(":", "%3A")
    starts = service_time(expires // HOUR * HOUR - 48 * HOUR).replace(":", "%3A")
    signature = fake_secret(account, path, expires // HOUR)
    signature = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return (
        f"https://{account}.blob.core.windows.net/{path}"
        f"?sv=2024-11-04&st={starts}&se={ends}&sr=b&sp=r&sig={signature}"
    )


@dataclass(frozen=True)
class Profile:
    """What the nodes of a kind of pool have in common.

    ``start_task`` and ``image`` take a revision (how often the definition changed, or which
    image release); the start task also takes when its SAS links expire, in microseconds.
    """

    noun: str  # what its tasks are called
    pool: Callable[[str], Json]
    start_task: Callable[[str, int, int], Json]
    image: Callable[[int], Json]
    endpoints: tuple[tuple[str, str, int, int], ...]  # name, protocol, first port, backend
    certificates: tuple[Json, ...] = ()
    is_container: bool = False
    fill: str = "Spread"
    has_public_address: bool = True


def _linux_image(release: int) -> Json:
    return {
        "publisher": "canonical",
        "offer": "ubuntu-24_04-lts",
        "sku": "server",
        "version": "latest",
        "exactVersion": f"24.04.2026{10 + release // 28:02d}{1 + release % 28:02d}",
    }


def _shared_image(release: int) -> Json:
    gallery = "/sharedGalleries/11111111-2222-farm-gallery/images/solver"
    return {"sharedGalleryImageId": f"{gallery}/versions/4.{release}.0"}


def _gallery_image(release: int) -> Json:
    gallery = f"{_SUBSCRIPTION}/providers/Microsoft.Compute/galleries/farm/images/cuda"
    return {"virtualMachineImageId": f"{gallery}/versions/12.{release}.1"}


def _community_image(release: int) -> Json:
    gallery = "/communityGalleries/farm-0a1b2c3d/images/winrender"
    return {"communityGalleryImageId": f"{gallery}/versions/2026.{release}.0"}


def _environment(pool_id: str, *extra: tuple[str, str]) -> list[Json]:
    pairs = [
        ("FARM_POOL", pool_id),
        ("LICENSE_SERVER", "27000@10.20.0.4"),
        ("FARM_API_TOKEN", fake_secret(pool_id, "api")[:40]),
        ("STORAGE_CONNECTION", "DefaultEndpointsProtocol=https;AccountName=farmassets;"
         f"AccountKey={fake_secret(pool_id, 'storage')};EndpointSuffix=core.windows.net"),
        ("CACHE_DIR", "/mnt/resource/cache"),
        *extra,
    ]  # fmt: skip
    return [{"name": name, "value": value} for name, value in pairs]


def _render_start_task(pool_id: str, revision: int, expires: int) -> Json:
    return {
        "commandLine": f"/bin/bash -c './setup.sh --farm {pool_id} --release {41 + revision}'",
        "resourceFiles": [
            {
                "httpUrl": sas_url("farmassets", f"tools/setup-{41 + revision}.sh", expires),
                "filePath": "setup.sh",
                "fileMode": "0770",
            },
            {
                "storageContainerUrl": sas_url("farmassets", "licenses", expires),
                "blobPrefix": "render/",
                "filePath": "licenses",
            },
            {"autoStorageContainerName": "plugins", "blobPrefix": "v2/"},
        ],
        "environmentSettings": _environment(pool_id, ("RENDERER", f"cycles-4.{revision}")),
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
        "maxTaskRetryCount": 2,
        "waitForSuccess": True,
    }


def _spot_start_task(pool_id: str, revision: int, expires: int) -> Json:
    password = fake_secret(pool_id, "share")[:20]
    return {
        "commandLine": f"/bin/bash -c 'mount-scratch --user sim --password {password} &&"
        f" ./join.sh -r {revision}'",
        "resourceFiles": [
            {
                "httpUrl": sas_url("simstore", f"bin/join-{revision}.sh", expires),
                "filePath": "join.sh",
                "fileMode": "0755",
            },
            {
                "storageContainerUrl": "https://simstore.blob.core.windows.net/inputs",
                "filePath": "inputs",
                "identityReference": {"resourceId": _IDENTITY},
            },
        ],
        "environmentSettings": _environment(pool_id, ("MPI_RANKS_PER_NODE", "16")),
        "userIdentity": {"username": "sim"},
        "maxTaskRetryCount": 2,
        "waitForSuccess": True,
    }


def _container_start_task(pool_id: str, revision: int, expires: int) -> Json:
    secret = fake_secret(pool_id, "hub")[:32]
    return {
        "commandLine": "python -m warmup --model resnet50",
        "containerSettings": {
            "containerRunOptions": f"--rm --shm-size 8g -e HUB_TOKEN={secret} --env MODE=warm",
            "imageName": f"farmregistry.azurecr.io/train/warmup:{7 + revision}",
            "registry": {
                "username": "farmregistry",
                "password": fake_secret(pool_id, "registry"),
                "registryServer": "farmregistry.azurecr.io",
                "identityReference": {"resourceId": _IDENTITY},
            },
            "workingDirectory": "taskWorkingDirectory",
            "containerHostBatchBindMounts": [
                {"source": "Shared", "isReadOnly": False},
                {"source": "Startup", "isReadOnly": True},
            ],
        },
        "resourceFiles": [
            {"httpUrl": sas_url("trainstore", "weights/base.pt", expires), "filePath": "base.pt"},
        ],
        "environmentSettings": _environment(pool_id, ("NCCL_DEBUG", "WARN")),
        "userIdentity": {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}},
        "maxTaskRetryCount": 1,
        "waitForSuccess": True,
    }


def _windows_start_task(pool_id: str, revision: int, expires: int) -> Json:
    return {
        "commandLine": f"cmd /c install.cmd /quiet /release:{revision}",
        "resourceFiles": [
            {"httpUrl": sas_url("winassets", "install.cmd", expires), "filePath": "install.cmd"},
        ],
        "environmentSettings": _environment(pool_id, ("TEMP", "D:\\temp")),
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
        "maxTaskRetryCount": 2,
        "waitForSuccess": True,
    }


_CERTIFICATE: Json = {
    "thumbprint": digest("certificate").hex()[:40],
    "thumbprintAlgorithm": "sha1",
    "storeLocation": "CurrentUser",
    "storeName": "My",
    "visibility": ["starttask", "task", "remoteuser"],
}

_SSH = ("SSHRule", "tcp", 50000, 22)


def scale_set_vm(pool_id: str, number: int) -> str:
    """Return the made-up ARM resource id of the machine under a node."""
    scale_set = fake_guid("scale set", pool_id)
    provider = "providers/Microsoft.Compute/virtualMachineScaleSets"
    return f"{_SUBSCRIPTION}/{provider}/{scale_set}-azurebatch-VMSS-D/virtualMachines/{number}"


def profiles() -> dict[str, Profile]:
    """Return the four profiles by the name a fleet file calls them."""
    return {
        "render": Profile(
            "frame", pools.render, _render_start_task, _linux_image,
            (_SSH, ("Metrics", "tcp", 60000, 9100)),
        ),
        "spot": Profile(
            "step", pools.spot, _spot_start_task, _shared_image, (_SSH,), has_public_address=False
        ),
        "containers": Profile(
            "epoch", pools.containers, _container_start_task, _gallery_image, (_SSH,),
            is_container=True, fill="Pack",
        ),
        "windows": Profile(
            "shot", pools.windows, _windows_start_task, _community_image,
            (("RDPRule", "tcp", 3389, 20000), ("Telemetry", "udp", 61000, 8125)),
            certificates=(_CERTIFICATE,),
        ),
    }  # fmt: skip
