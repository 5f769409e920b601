"""The table ``start_tasks``."""

from __future__ import annotations

from pipeline.schema.columns import FLAG, INT, TEXT, Column, Table, list_column
from pipeline.schema.keys import EXTRA, KEYS

_WORKING_DIRECTORY = ("taskworkingdirectory", "containerimagedefault")
_HOST_PATH = ("shared", "startup", "vfsmounts", "task", "jobprep", "applications")
_SCOPE, _ELEVATION = ("task", "pool"), ("nonadmin", "admin")

# fmt: off
# ruff: noqa: E501 - a column is one line: that is what makes this file readable as a table
_RESOURCE_FILE = (
    Column("auto_storage_container_name", TEXT, "autoStorageContainerName", "Container in the auto-storage account.", "text"),
    Column("storage_container_url", TEXT, "storageContainerUrl", "URL of a blob container; its signature is masked.", "text"),
    Column("http_url", TEXT, "httpUrl", "URL of the file; its signature is masked.", "text"),
    Column("blob_prefix", TEXT, "blobPrefix", "Prefix of the blobs to download.", "text"),
    Column("file_path", TEXT, "filePath", "Where the file goes on the node.", "text"),
    Column("file_mode", TEXT, "fileMode", "File permission mode, octal.", "text"),
    Column("identity_reference_resource_id", TEXT, "identityReference.resourceId", "Managed identity that reads the storage.", "text"),
)
_ENVIRONMENT_SETTING = (
    Column("name", TEXT, "name", "Name of the environment variable.", "text"),
    Column("value", TEXT, "value", "Value of the environment variable: masked, unless kept by --keep-env.", "mask"),
)
_BIND_MOUNT = (
    Column("source", TEXT, "source", "Host path that is mounted.", enum=_HOST_PATH),
    Column("is_read_only", FLAG, "isReadOnly", "Whether it is mounted read-only."),
)

START_TASKS = Table("start_tasks", "snapshot x pool x distinct redacted startTask", "The start tasks the nodes of a pool carry, each once.", root="startTask", order=("pool_id", "start_task_id", "snapshot_id"), columns=(
    *KEYS,
    Column("pool_id", TEXT, None, "Pool whose nodes carry it."),
    Column("start_task_id", TEXT, None, "SHA-256 of its canonical redacted form."),
    Column("start_task_definition_id", TEXT, None, "The same without environment values, secrets and signatures: unchanged by a renewed SAS."),
    Column("start_task_fingerprint", TEXT, None, "HMAC-SHA-256 of its unredacted form under NODELAKE_HASH_KEY; null without that key."),
    Column("command_line", TEXT, "commandLine", "Command line.", "text"),
    Column("container_settings_container_run_options", TEXT, "containerSettings.containerRunOptions", "Further options of docker create.", "text"),
    Column("container_settings_image_name", TEXT, "containerSettings.imageName", "Container image.", "text"),
    Column("container_settings_registry_username", TEXT, "containerSettings.registry.username", "User name at the registry.", "text"),
    Column("container_settings_registry_password", TEXT, "containerSettings.registry.password", "Password at the registry: dropped, never stored.", "drop"),
    Column("container_settings_registry_registry_server", TEXT, "containerSettings.registry.registryServer", "Registry; docker.io if omitted.", "text"),
    Column("container_settings_registry_identity_reference_resource_id", TEXT, "containerSettings.registry.identityReference.resourceId", "Managed identity that reads the registry.", "text"),
    Column("container_settings_working_directory", TEXT, "containerSettings.workingDirectory", "Working directory in the container.", enum=_WORKING_DIRECTORY),
    list_column("container_settings_container_host_batch_bind_mounts", "containerSettings.containerHostBatchBindMounts", "Host paths mounted; absent mounts everything, empty nothing.", *_BIND_MOUNT),
    list_column("resource_files", "resourceFiles", "Files downloaded before it runs.", *_RESOURCE_FILE),
    list_column("environment_settings", "environmentSettings", "Environment: names kept, values masked.", *_ENVIRONMENT_SETTING),
    Column("user_identity_username", TEXT, "userIdentity.username", "User it runs as.", "text"),
    Column("user_identity_auto_user_scope", TEXT, "userIdentity.autoUser.scope", "Scope of the auto user.", enum=_SCOPE),
    Column("user_identity_auto_user_elevation_level", TEXT, "userIdentity.autoUser.elevationLevel", "Elevation of the auto user.", enum=_ELEVATION),
    Column("max_task_retry_count", INT, "maxTaskRetryCount", "Retries allowed."),
    Column("wait_for_success", FLAG, "waitForSuccess", "Whether the node waits for it before taking tasks."),
    EXTRA,
))
# fmt: on
