"""Tables made from a compute node: ``nodes``, ``recent_tasks``, ``node_errors``.

Fields of api-versions later than 2024-07-01.20.0 say so in their doc.
"""

from __future__ import annotations

from pipeline.schema.columns import (
    FLAG,
    INT,
    TEXT,
    TIME,
    Column,
    Table,
    enum_list_column,
    list_column,
)
from pipeline.schema.keys import (
    CATEGORY,
    CHILD_KEYS,
    DETAIL_NAME,
    DETAIL_VALUE,
    EXTRA,
    NODE_KEYS,
    RESULT,
)

NODE_STATES = tuple(
    "idle rebooting reimaging running unusable creating starting waitingforstarttask "
    "starttaskfailed unknown leavingpool offline preempted upgradingos deallocated "
    "deallocating".split()
)
_SCHEDULING, _START_TASK = ("enabled", "disabled"), ("running", "completed")
_TASK = ("active", "preparing", "running", "completed")
_PROTOCOL, _STORE = ("tcp", "udp"), ("currentuser", "localmachine")
_VISIBILITY = ("starttask", "task", "remoteuser")

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
    enum_list_column("visibility", "visibility", "Which accounts may use the certificate.", _VISIBILITY),
)

NODES = Table("nodes", "snapshot x node", "Every scalar of a compute node, as listed.", root="", order=("pool_id", "node_id", "observed_at", "snapshot_id"), columns=(
    *NODE_KEYS,
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
    Column("start_task_failure_category", TEXT, "startTaskInfo.failureInfo.category", "Whose fault the failure was.", enum=CATEGORY),
    Column("start_task_failure_code", TEXT, "startTaskInfo.failureInfo.code", "Code of the failure.", "text"),
    Column("start_task_failure_message", TEXT, "startTaskInfo.failureInfo.message", "Message of the failure.", "text"),
    list_column("start_task_failure_details", "startTaskInfo.failureInfo.details", "Details of the failure.", DETAIL_NAME, DETAIL_VALUE),
    Column("start_task_retry_count", INT, "startTaskInfo.retryCount", "Times it was retried."),
    Column("start_task_last_retry_time", TIME, "startTaskInfo.lastRetryTime", "When it was last retried."),
    Column("start_task_result", TEXT, "startTaskInfo.result", "Result of the start task.", enum=RESULT),
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
    list_column("inbound_endpoints", "endpointConfiguration.inboundEndpoints", "Endpoints reachable from outside.", *_INBOUND_ENDPOINT),
    list_column("certificate_references", "certificateReferences", "Certificates installed on the node.", *_CERTIFICATE_REFERENCE),
    EXTRA,
))

# Observations of one task are sorted together: a node's window of tasks changes with each task.
RECENT_TASKS = Table("recent_tasks", "snapshot x node x task", "The sliding window of tasks each node ran lately.", root="recentTasks[]", order=("pool_id", "node_id", "start_time", "job_id", "task_id", "subtask_id", "snapshot_id", "position"), columns=(
    *CHILD_KEYS,
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
    Column("failure_category", TEXT, "executionInfo.failureInfo.category", "Whose fault the failure was.", enum=CATEGORY),
    Column("failure_code", TEXT, "executionInfo.failureInfo.code", "Code of the failure.", "text"),
    Column("failure_message", TEXT, "executionInfo.failureInfo.message", "Message of the failure.", "text"),
    list_column("failure_details", "executionInfo.failureInfo.details", "Details of the failure.", DETAIL_NAME, DETAIL_VALUE),
    Column("retry_count", INT, "executionInfo.retryCount", "Times it was retried by the service."),
    Column("last_retry_time", TIME, "executionInfo.lastRetryTime", "When it was last retried."),
    Column("requeue_count", INT, "executionInfo.requeueCount", "Times it was requeued, as after a preemption."),
    Column("last_requeue_time", TIME, "executionInfo.lastRequeueTime", "When it was last requeued."),
    Column("result", TEXT, "executionInfo.result", "Result of the task.", enum=RESULT),
    EXTRA,
))

NODE_ERRORS = Table("node_errors", "snapshot x node x error", "What is wrong with a node now.", root="errors[]", order=("pool_id", "node_id", "snapshot_id", "position"), columns=(
    *CHILD_KEYS,
    Column("code", TEXT, "code", "Code of the error.", "text"),
    Column("message", TEXT, "message", "Message of the error.", "text"),
    list_column("error_details", "errorDetails", "Details of the error.", DETAIL_NAME, DETAIL_VALUE),
    EXTRA,
))
# fmt: on
