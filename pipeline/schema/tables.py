"""Every column of every table: name, type, JSON path, meaning, and whether it may hold a secret.

One line a column, and nowhere else: the flattener, the Parquet metadata, the DuckDB comments, the
README's tables and the tests are made from these lines. Facts are the REST API's, version
2024-07-01.20.0 (definitions ComputeNode, TaskInformation, StartTask, ComputeNodeError, CloudPool,
PoolUsageMetrics); the fields of later versions are named where they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa

#: The version of the columns, written into every file; part of what makes an import's id.
SCHEMA_VERSION = 1

#: What a masked value reads.
REDACTED = "[redacted]"

Secret = Literal["no", "text", "mask", "drop"]
"""Whether a column may hold a secret, and what becomes of it.

``no``: keys, numbers, times, closed vocabularies. ``text``: free text; what looks like a secret
in it is masked. ``mask``: a secret by its meaning; the whole value is masked. ``drop``: read, so
that it is known, and never stored.
"""

TIME = pa.timestamp("us", tz="UTC")
INT = pa.int32()
COUNT = pa.int64()
REAL = pa.float64()
FLAG = pa.bool_()
TEXT = pa.string()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, Arrow type, JSON path and meaning.

    ``path`` is relative to the object the table's row is made from (see ``Table.root``); None is a
    column nodelake makes itself. ``enum`` lists the known values, lower-cased. ``fields`` are the
    members of a list<struct> column, their paths relative to the list's element.
    """

    name: str
    type: pa.DataType
    path: str | None
    doc: str
    secret: Secret = "no"
    enum: tuple[str, ...] = ()
    fields: tuple[Column, ...] = ()

    @property
    def is_stored(self) -> bool:
        """False for a value that is read but never written."""
        return self.secret != "drop"

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with the doc as its metadata."""
        return pa.field(self.name, self.type, metadata={"doc": self.doc})


@dataclass(frozen=True)
class Table:
    """One table of the lake: its grain, its columns, and the JSON object a row is made from.

    ``root`` is where that object stands in a ComputeNode (``""`` the node itself, ``recentTasks[]``
    an element of that list), or None where the rows are not made from a node.
    """

    name: str
    grain: str
    doc: str
    columns: tuple[Column, ...]
    root: str | None = None

    @cached_property
    def stored(self) -> tuple[Column, ...]:
        """The columns that are written, in file order."""
        return tuple(column for column in self.columns if column.is_stored)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every file of this table: fixed, each column's doc in its field."""
        return pa.schema(
            [column.field for column in self.stored],
            metadata={
                "nodelake.table": self.name,
                "nodelake.schema_version": str(SCHEMA_VERSION),
                "nodelake.grain": self.grain,
            },
        )

    @property
    def from_json(self) -> Iterator[Column]:
        """The columns that come from the service's JSON, in file order."""
        return (column for column in self.columns if column.path is not None)


def _lists(name: str, path: str | None, doc: str, *fields: Column) -> Column:
    members = pa.struct([field.field for field in fields if field.is_stored])
    return Column(name, pa.list_(pa.field("element", members)), path, doc, fields=fields)


def _enums(name: str, path: str, doc: str, enum: Sequence[str]) -> Column:
    return Column(name, pa.list_(pa.field("element", TEXT)), path, doc, enum=tuple(enum))


# --- the vocabularies, lower-cased: the service's case differs from its specification ---
NODE_STATES = tuple(
    "idle rebooting reimaging running unusable creating starting waitingforstarttask "
    "starttaskfailed unknown leavingpool offline preempted upgradingos deallocated "
    "deallocating".split()
)
_SCHEDULING, _START_TASK = ("enabled", "disabled"), ("running", "completed")
_TASK = ("active", "preparing", "running", "completed")
_RESULT, _CATEGORY = ("success", "failure"), ("usererror", "servererror")
_PROTOCOL, _STORE = ("tcp", "udp"), ("currentuser", "localmachine")
_VISIBILITY = ("starttask", "task", "remoteuser")
_WORKING_DIRECTORY = ("taskworkingdirectory", "containerimagedefault")
_HOST_PATH = ("shared", "startup", "vfsmounts", "task", "jobprep", "applications")
_SCOPE, _ELEVATION = ("task", "pool"), ("nonadmin", "admin")
_POOL_STATE, _ALLOCATION = ("active", "deleting"), ("steady", "resizing", "stopping")
_COMMUNICATION = ("default", "classic", "simplified")
_LISTING = ("complete", "partial", "failed")
_NAME = Column("name", TEXT, "name", "Name of the detail.", "text")
_VALUE = Column("value", TEXT, "value", "Value of the detail.", "text")

# fmt: off
# ruff: noqa: E501 - a column is one line: that is what makes this file readable as a table
_INBOUND_ENDPOINT = (
    Column("name", TEXT, "name", "Name of the endpoint.", "text"),
    Column("protocol", TEXT, "protocol", "Protocol of the endpoint.", enum=_PROTOCOL),
    Column("public_ip_address", TEXT, "publicIPAddress", "Public IP address; often absent.", "text"),
    Column("public_fqdn", TEXT, "publicFQDN", "Public domain name; often absent.", "text"),
    Column("frontend_port", INT, "frontendPort", "Public port number."),
    Column("backend_port", INT, "backendPort", "Port number on the node."),
)
_CERTIFICATE_REFERENCE = (
    Column("thumbprint", TEXT, "thumbprint", "Thumbprint of the certificate.", "text"),
    Column("thumbprint_algorithm", TEXT, "thumbprintAlgorithm", "Algorithm of the thumbprint; sha1.", "text"),
    Column("store_location", TEXT, "storeLocation", "Certificate store location on the node.", enum=_STORE),
    Column("store_name", TEXT, "storeName", "Certificate store name; Windows only.", "text"),
    _enums("visibility", "visibility", "Which accounts may use the certificate.", _VISIBILITY),
)
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

_KEYS = (
    Column("account", TEXT, None, "Batch account: name.region of its endpoint, or the label in nodelake.toml."),
    Column("snapshot_id", TEXT, None, "The snapshot this row belongs to: YYYYMMDDTHHMMSSZ-<8 hex>, sorts by time."),
    Column("snapshot_at", TIME, None, "When the snapshot began, by this machine's clock (an import's: its --at)."),
)
_NODE_KEYS = (
    *_KEYS,
    Column("pool_id", TEXT, None, "Pool the node was listed in."),
    Column("node_id", TEXT, "id", "Id of the node; the service may reuse it once the node is gone."),
    Column("allocation_time", TIME, "allocationTime", "When the node was allocated; fixed for an incarnation of its id."),
)
_CHILD_KEYS = (
    *_KEYS,
    Column("pool_id", TEXT, None, "Pool the node was listed in."),
    Column("node_id", TEXT, None, "Node this row belongs to."),
    Column("allocation_time", TIME, None, "Allocation time of that node: with its id, one incarnation."),
    Column("position", INT, None, "Place in the node's array, from 0."),
)
_EXTRA = Column("extra_json", TEXT, None, "What no column holds, redacted: path -> unknown value, explicit null, empty object or empty list.", "text")

NODES = Table("nodes", "snapshot x node", "Every scalar of a compute node, as listed.", root="", columns=(
    *_NODE_KEYS,
    Column("observed_at", TIME, None, "When the service listed it, by the service's clock (the page's Date header)."),
    Column("is_malformed", FLAG, None, "A value had the wrong type: only valid keys are kept here, the rest in extra_json."),
    Column("url", TEXT, "url", "URL of the node.", "text"),
    Column("state", TEXT, "state", "State of the node.", enum=NODE_STATES),
    Column("scheduling_state", TEXT, "schedulingState", "Whether tasks may be scheduled on it.", enum=_SCHEDULING),
    Column("state_transition_time", TIME, "stateTransitionTime", "When it entered its current state."),
    Column("last_boot_time", TIME, "lastBootTime", "When it last booted; absent while creating or starting."),
    Column("ip_address", TEXT, "ipAddress", "Private IP address.", "text"),
    Column("ipv6_address", TEXT, "ipv6Address", "Private IPv6 address (API 2025-06-01).", "text"),
    Column("public_ip_address", TEXT, "publicIPAddress", "Public IP address (API 2026-10-01).", "text"),
    Column("public_ipv6_address", TEXT, "publicIPv6Address", "Public IPv6 address (API 2026-10-01).", "text"),
    Column("affinity_id", TEXT, "affinityId", "Affinity id tasks may ask for.", "text"),
    Column("vm_size", TEXT, "vmSize", "Size of the virtual machine.", "text"),
    Column("is_dedicated", FLAG, "isDedicated", "Dedicated (true) or spot (false)."),
    Column("total_tasks_run", INT, "totalTasksRun", "Job tasks completed on it since its allocation."),
    Column("total_tasks_succeeded", INT, "totalTasksSucceeded", "Of those, with exit code 0."),
    Column("running_tasks_count", INT, "runningTasksCount", "Job tasks running now."),
    Column("running_task_slots_count", INT, "runningTaskSlotsCount", "Task slots in use now."),
    Column("start_task_id", TEXT, None, "SHA-256 of the start task's canonical redacted form; joins start_tasks."),
    Column("start_task_definition_id", TEXT, None, "The same without environment values, secrets and signatures: did the definition change?"),
    Column("start_task_state", TEXT, "startTaskInfo.state", "State of the start task on this node.", enum=_START_TASK),
    Column("start_task_start_time", TIME, "startTaskInfo.startTime", "When its most recent run began; reset on each retry."),
    Column("start_task_end_time", TIME, "startTaskInfo.endTime", "When its most recent run ended."),
    Column("start_task_exit_code", INT, "startTaskInfo.exitCode", "Its exit code, once completed."),
    Column("start_task_container_id", TEXT, "startTaskInfo.containerInfo.containerId", "Container of the start task.", "text"),
    Column("start_task_container_state", TEXT, "startTaskInfo.containerInfo.state", "State of that container, as Docker says.", "text"),
    Column("start_task_container_error", TEXT, "startTaskInfo.containerInfo.error", "Error of that container, as Docker says.", "text"),
    Column("start_task_failure_category", TEXT, "startTaskInfo.failureInfo.category", "Whose fault the failure was.", enum=_CATEGORY),
    Column("start_task_failure_code", TEXT, "startTaskInfo.failureInfo.code", "Code of the failure.", "text"),
    Column("start_task_failure_message", TEXT, "startTaskInfo.failureInfo.message", "Message of the failure.", "text"),
    _lists("start_task_failure_details", "startTaskInfo.failureInfo.details", "Details of the failure.", _NAME, _VALUE),
    Column("start_task_retry_count", INT, "startTaskInfo.retryCount", "Times it was retried."),
    Column("start_task_last_retry_time", TIME, "startTaskInfo.lastRetryTime", "When it was last retried."),
    Column("start_task_result", TEXT, "startTaskInfo.result", "Result of the start task.", enum=_RESULT),
    Column("node_agent_version", TEXT, "nodeAgentInfo.version", "Version of the Batch node agent.", "text"),
    Column("node_agent_last_update_time", TIME, "nodeAgentInfo.lastUpdateTime", "When the node agent was last updated."),
    Column("image_publisher", TEXT, "virtualMachineInfo.imageReference.publisher", "Publisher of the image.", "text"),
    Column("image_offer", TEXT, "virtualMachineInfo.imageReference.offer", "Offer of the image.", "text"),
    Column("image_sku", TEXT, "virtualMachineInfo.imageReference.sku", "SKU of the image.", "text"),
    Column("image_version", TEXT, "virtualMachineInfo.imageReference.version", "Version asked for; may be latest.", "text"),
    Column("image_exact_version", TEXT, "virtualMachineInfo.imageReference.exactVersion", "Version the node was made from.", "text"),
    Column("image_virtual_machine_image_id", TEXT, "virtualMachineInfo.imageReference.virtualMachineImageId", "Resource id of a custom image.", "text"),
    Column("image_shared_gallery_image_id", TEXT, "virtualMachineInfo.imageReference.sharedGalleryImageId", "Id of a shared gallery image.", "text"),
    Column("image_community_gallery_image_id", TEXT, "virtualMachineInfo.imageReference.communityGalleryImageId", "Id of a community gallery image.", "text"),
    Column("scale_set_vm_resource_id", TEXT, "virtualMachineInfo.scaleSetVmResourceId", "Resource id of the scale-set VM (user-subscription accounts).", "text"),
    _lists("inbound_endpoints", "endpointConfiguration.inboundEndpoints", "Endpoints reachable from outside.", *_INBOUND_ENDPOINT),
    _lists("certificate_references", "certificateReferences", "Certificates installed on the node.", *_CERTIFICATE_REFERENCE),
    _EXTRA,
))

START_TASKS = Table("start_tasks", "snapshot x pool x distinct redacted startTask", "The start tasks the nodes of a pool carry, each once.", root="startTask", columns=(
    *_KEYS,
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
    _lists("container_settings_container_host_batch_bind_mounts", "containerSettings.containerHostBatchBindMounts", "Host paths mounted; absent mounts everything, empty nothing.", *_BIND_MOUNT),
    _lists("resource_files", "resourceFiles", "Files downloaded before it runs.", *_RESOURCE_FILE),
    _lists("environment_settings", "environmentSettings", "Environment: names kept, values masked.", *_ENVIRONMENT_SETTING),
    Column("user_identity_username", TEXT, "userIdentity.username", "User it runs as.", "text"),
    Column("user_identity_auto_user_scope", TEXT, "userIdentity.autoUser.scope", "Scope of the auto user.", enum=_SCOPE),
    Column("user_identity_auto_user_elevation_level", TEXT, "userIdentity.autoUser.elevationLevel", "Elevation of the auto user.", enum=_ELEVATION),
    Column("max_task_retry_count", INT, "maxTaskRetryCount", "Retries allowed."),
    Column("wait_for_success", FLAG, "waitForSuccess", "Whether the node waits for it before taking tasks."),
    _EXTRA,
))

RECENT_TASKS = Table("recent_tasks", "snapshot x node x task", "The sliding window of tasks each node ran lately.", root="recentTasks[]", columns=(
    *_CHILD_KEYS,
    Column("task_url", TEXT, "taskUrl", "URL of the task.", "text"),
    Column("job_id", TEXT, "jobId", "Job of the task."),
    Column("task_id", TEXT, "taskId", "Id of the task."),
    Column("subtask_id", INT, "subtaskId", "Subtask, for a multi-instance task."),
    Column("task_state", TEXT, "taskState", "State of the task.", enum=_TASK),
    Column("start_time", TIME, "executionInfo.startTime", "When it began; later than its assignment if it had to download."),
    Column("end_time", TIME, "executionInfo.endTime", "When it completed."),
    Column("exit_code", INT, "executionInfo.exitCode", "Its exit code, once completed."),
    Column("container_id", TEXT, "executionInfo.containerInfo.containerId", "Container of the task.", "text"),
    Column("container_state", TEXT, "executionInfo.containerInfo.state", "State of that container, as Docker says.", "text"),
    Column("container_error", TEXT, "executionInfo.containerInfo.error", "Error of that container, as Docker says.", "text"),
    Column("failure_category", TEXT, "executionInfo.failureInfo.category", "Whose fault the failure was.", enum=_CATEGORY),
    Column("failure_code", TEXT, "executionInfo.failureInfo.code", "Code of the failure.", "text"),
    Column("failure_message", TEXT, "executionInfo.failureInfo.message", "Message of the failure.", "text"),
    _lists("failure_details", "executionInfo.failureInfo.details", "Details of the failure.", _NAME, _VALUE),
    Column("retry_count", INT, "executionInfo.retryCount", "Times it was retried by the service."),
    Column("last_retry_time", TIME, "executionInfo.lastRetryTime", "When it was last retried."),
    Column("requeue_count", INT, "executionInfo.requeueCount", "Times it was requeued, as after a preemption."),
    Column("last_requeue_time", TIME, "executionInfo.lastRequeueTime", "When it was last requeued."),
    Column("result", TEXT, "executionInfo.result", "Result of the task.", enum=_RESULT),
    _EXTRA,
))

NODE_ERRORS = Table("node_errors", "snapshot x node x error", "What is wrong with a node now.", root="errors[]", columns=(
    *_CHILD_KEYS,
    Column("code", TEXT, "code", "Code of the error.", "text"),
    Column("message", TEXT, "message", "Message of the error.", "text"),
    _lists("error_details", "errorDetails", "Details of the error.", _NAME, _VALUE),
    _EXTRA,
))

POOLS = Table("pools", "snapshot x pool", "A pool as listed, and how the listing of its nodes went.", columns=(
    *_KEYS,
    Column("pool_id", TEXT, "id", "Id of the pool."),
    Column("listing", TEXT, None, "Whether every page of its nodes was read: complete, partial or failed.", enum=_LISTING),
    Column("listing_started_at", TIME, None, "Service's clock at the first page of its nodes."),
    Column("listing_finished_at", TIME, None, "Service's clock at the last page of its nodes."),
    Column("nodes_listed", COUNT, None, "Distinct nodes that were listed."),
    Column("nodes_counted", COUNT, None, "Nodes /nodecounts told of; it may lag: a soft check."),
    Column("error_code", TEXT, None, "Code of what went wrong with the listing.", "text"),
    Column("error_message", TEXT, None, "What went wrong with the listing.", "text"),
    Column("request_id", TEXT, None, "The service's request-id of the failure.", "text"),
    Column("display_name", TEXT, "displayName", "Display name.", "text"),
    Column("url", TEXT, "url", "URL of the pool.", "text"),
    Column("etag", TEXT, "eTag", "Changes when the pool changes.", "text"),
    Column("last_modified", TIME, "lastModified", "When its pool-level data last changed."),
    Column("creation_time", TIME, "creationTime", "When it was created."),
    Column("state", TEXT, "state", "State of the pool.", enum=_POOL_STATE),
    Column("state_transition_time", TIME, "stateTransitionTime", "When it entered that state."),
    Column("allocation_state", TEXT, "allocationState", "Whether it is resizing.", enum=_ALLOCATION),
    Column("allocation_state_transition_time", TIME, "allocationStateTransitionTime", "When it entered that allocation state."),
    Column("vm_size", TEXT, "vmSize", "Size of its virtual machines.", "text"),
    Column("resize_timeout", TEXT, "resizeTimeout", "Timeout of the last resize, ISO 8601 duration.", "text"),
    Column("current_dedicated_nodes", INT, "currentDedicatedNodes", "Dedicated nodes now."),
    Column("current_low_priority_nodes", INT, "currentLowPriorityNodes", "Spot nodes now, preempted ones included."),
    Column("target_dedicated_nodes", INT, "targetDedicatedNodes", "Dedicated nodes wanted."),
    Column("target_low_priority_nodes", INT, "targetLowPriorityNodes", "Spot nodes wanted."),
    Column("enable_auto_scale", FLAG, "enableAutoScale", "Whether its size is computed."),
    Column("auto_scale_formula", TEXT, "autoScaleFormula", "The autoscale formula.", "text"),
    Column("auto_scale_evaluation_interval", TEXT, "autoScaleEvaluationInterval", "How often it is evaluated, ISO 8601 duration.", "text"),
    Column("enable_inter_node_communication", FLAG, "enableInterNodeCommunication", "Whether nodes may talk to each other."),
    Column("task_slots_per_node", INT, "taskSlotsPerNode", "Task slots on each node."),
    Column("target_node_communication_mode", TEXT, "targetNodeCommunicationMode", "Communication mode wanted.", enum=_COMMUNICATION),
    Column("current_node_communication_mode", TEXT, "currentNodeCommunicationMode", "Communication mode now.", enum=_COMMUNICATION),
    Column("configuration_json", TEXT, None, "Everything deeper of the pool's definition, redacted.", "text"),
    _EXTRA,
))

POOL_USAGE = Table("pool_usage", "snapshot x pool x vm_size x interval", "Core-hours as the service counts them (/poolusagemetrics).", columns=(
    *_KEYS,
    Column("pool_id", TEXT, "poolId", "Pool the hours were used in."),
    Column("vm_size", TEXT, "vmSize", "Size of its virtual machines.", "text"),
    Column("start_time", TIME, "startTime", "Start of the interval."),
    Column("end_time", TIME, "endTime", "End of the interval."),
    Column("total_core_hours", REAL, "totalCoreHours", "Core-hours used in it."),
    _EXTRA,
))

#: The tables that hold what was read, in the order they are written.
DATA_TABLES = (POOLS, NODES, START_TASKS, RECENT_TASKS, NODE_ERRORS, POOL_USAGE)

SNAPSHOTS = Table("snapshots", "snapshot", "The ledger: one row a run, failed ones too. What has no row here does not exist.", columns=(
    *_KEYS,
    Column("started_at", TIME, None, "When the run began, by this machine's clock."),
    Column("finished_at", TIME, None, "When the run was committed, by this machine's clock."),
    Column("batch_url", TEXT, None, "Endpoint of the account.", "text"),
    Column("api_version", TEXT, None, "api-version asked for.", "text"),
    Column("source", TEXT, None, "Where the rows come from: live, import or usage.", enum=("live", "import", "usage")),
    Column("scope", TEXT, None, "Whole account, or some pools only.", enum=("account", "pools")),
    Column("status", TEXT, None, "How it went: complete, partial or failed.", enum=_LISTING),
    Column("pool_listing", TEXT, None, "Whether every page of the pools was read.", enum=_LISTING),
    Column("pool_listing_started_at", TIME, None, "Service's clock at the first page of the pools."),
    Column("pool_listing_finished_at", TIME, None, "Service's clock at the last page of the pools."),
    Column("pools_listed", COUNT, None, "Pools that were listed."),
    Column("pools_complete", COUNT, None, "Pools whose nodes were listed completely."),
    Column("pools_failed", COUNT, None, "Pools whose nodes were not listed completely."),
    *(Column(f"{table.name}_rows", COUNT, None, f"Rows written to {table.name}.") for table in DATA_TABLES),
    Column("requests", COUNT, None, "HTTP requests sent, retries included."),
    Column("retries", COUNT, None, "Requests sent again after a failure."),
    Column("throttled", COUNT, None, "Answers 429 or 503."),
    Column("bytes_received", COUNT, None, "Bytes of bodies as they came over the wire."),
    Column("duplicates", COUNT, None, "Nodes met twice in a listing, kept once."),
    Column("malformed", COUNT, None, "Nodes with a value of the wrong type or without a valid id, and pools with such a value."),
    Column("unknown_fields", COUNT, None, "Values of fields the schema does not name; kept in extra_json."),
    _lists("unknown_field_paths", None, "Those fields by name.",
        Column("path", TEXT, None, "Table and JSON path of the field.", "text"),
        Column("values", COUNT, None, "How many values it had.")),
    _lists("unknown_enum_values", None, "Values outside the known vocabularies; kept as they are.",
        Column("path", TEXT, None, "Table and column.", "text"),
        Column("value", TEXT, None, "The value, lower-cased.", "text"),
        Column("values", COUNT, None, "How many times it was met.")),
    _lists("problems", None, "What was malformed: the first 100.",
        Column("pool_id", TEXT, None, "Pool of the node."),
        Column("node_id", TEXT, None, "The node, where its id is valid."),
        Column("path", TEXT, None, "JSON path of the value.", "text"),
        Column("problem", TEXT, None, "What was expected, and what came.", "text")),
    Column("clock_skew_seconds", REAL, None, "Service's clock less this machine's."),
    Column("error_code", TEXT, None, "Code of what made the run fail.", "text"),
    Column("error_message", TEXT, None, "What made the run fail.", "text"),
    Column("request_id", TEXT, None, "The service's request-id of that failure.", "text"),
    Column("tool_version", TEXT, None, "Version of nodelake that wrote it."),
))
# fmt: on

#: Every table, the ledger last: its file is the commit of a snapshot.
TABLES: dict[str, Table] = {table.name: table for table in (*DATA_TABLES, SNAPSHOTS)}

#: The deeper fields of CloudPool, which stand together in pools.configuration_json.
POOL_CONFIGURATION = tuple(
    "virtualMachineConfiguration resizeErrors autoScaleRun networkConfiguration startTask "
    "certificateReferences applicationPackageReferences taskSchedulingPolicy userAccounts metadata "
    "stats mountConfiguration identity upgradePolicy resourceTags".split()
)
