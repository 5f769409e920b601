"""A node's JSON with the members of every api-version, in the order of the recordings.

Absent members are left out, as the service sends no null; ``base`` is the account's URL.
"""

from typing import Any

from ..states import AGENTLESS
from ..streams import fake_guid
from ..times import fine_service_time, service_time
from .nodes import Node
from .profiles import scale_set_vm
from .tasks import Task, TaskFailure

Json = dict[str, Any]


def address(node: Node) -> str:
    """Return the node's IP address: it belongs to the seat, so the next node reuses it."""
    block = 20 if node.is_dedicated else 21
    place = node.seat + 4  # Azure reserves the first four of a subnet
    return f"10.{block + place // 65536 * 2}.{place // 256 % 256}.{place % 256}"


def node_document(node: Node, base: str) -> Json:
    """Return one ComputeNode with the members of every api-version."""
    plan = node.plan
    pool_id = plan.config.id
    has_agent = node.state not in AGENTLESS and node.booted_at is not None
    document: Json = {
        "id": node.id,
        "url": f"{base}/pools/{pool_id}/nodes/{node.id}",
        "state": node.state,
        "schedulingState": "enabled" if node.is_scheduling else "disabled",
        "stateTransitionTime": service_time(node.state_since),
    }
    if has_agent:
        document["lastBootTime"] = service_time(node.booted_at or 0)
    document["allocationTime"] = fine_service_time(node.allocated_at)
    document["ipAddress"] = address(node)
    if plan.config.profile == "windows":  # absent in every recording, so mostly absent here
        document["ipv6Address"] = f"fd00:20::{node.seat + 4:x}"
    document["affinityId"] = f"TVM:{node.id}"
    document["vmSize"] = node.vm_size
    document["totalTasksRun"] = node.tasks_run
    document["totalTasksSucceeded"] = node.tasks_succeeded
    document["runningTasksCount"] = len(node.running)
    document["runningTaskSlotsCount"] = _slots(node)
    if node.recent:
        document["recentTasks"] = [task_document(task, base) for task in node.recent]
    if plan.config.start_task.is_present:
        document["startTask"] = plan.start_task(node.start_task_key)
        if has_agent and node.start_task_info is not None:
            document["startTaskInfo"] = _start_task_info(node)
    if has_agent:
        document["certificateReferences"] = list(plan.profile.certificates)
    if node.errors:
        document["errors"] = [
            {"code": e.code, "message": e.message, "errorDetails": _pairs(e.details)}
            for e in node.errors
        ]
    document["isDedicated"] = node.is_dedicated
    if plan.profile.has_public_address:
        document["publicIPAddress"] = _public_address(node)
        if plan.config.profile == "windows":
            document["publicIPv6Address"] = f"2603:1030:20::{node.seat % 16 + 10:x}"
    document["endpointConfiguration"] = {"inboundEndpoints": _endpoints(node)}
    if has_agent:
        document["nodeAgentInfo"] = {
            "lastUpdateTime": service_time(node.agent_updated_at),
            "version": node.agent_version,
        }
    document["virtualMachineInfo"] = {"imageReference": plan.image_reference(node.image_release)}
    if node.state != "creating":
        vm = scale_set_vm(pool_id, node.seat)
        document["virtualMachineInfo"]["scaleSetVmResourceId"] = vm
    return document


def _public_address(node: Node) -> str:
    """Return the public address, a load balancer's: several nodes of a pool share one."""
    return f"20.44.{node.seat // 1000 % 256}.{node.seat % 16 + 10}"


def _slots(node: Node) -> int:
    return sum(map(node.slots_of, node.running))


def _pairs(pairs: tuple[tuple[str, str], ...]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in pairs]


def failure_document(failure: TaskFailure) -> Json:
    """Return a TaskFailureInformation."""
    document: Json = {
        "category": failure.category,
        "code": failure.code,
        "message": failure.message,
    }
    if failure.details:
        document["details"] = _pairs(failure.details)
    return document


def _endpoints(node: Node) -> list[Json]:
    plan = node.plan
    name = fake_guid("dns", plan.seed, plan.config.id)
    host = f"dns{name}-azurebatch-cloudservice.{plan.region}.cloudapp.azure.com"
    return [
        {
            "name": f"{endpoint}.{node.seat}",
            "protocol": protocol,
            "publicIPAddress": _public_address(node),
            "publicFQDN": host,
            "frontendPort": port + node.seat % 1000,
            "backendPort": backend,
        }
        for endpoint, protocol, port, backend in plan.profile.endpoints
    ]


def _container(container_id: str, state: str, error: str | None = None) -> Json:
    document: Json = {"containerId": container_id, "state": state}
    if error is not None:
        document["error"] = error
    return document


def _start_task_info(node: Node) -> Json:
    info = node.start_task_info
    assert info is not None
    is_over = info.ended_at is not None
    document: Json = {
        "state": "completed" if is_over else "running",
        "startTime": service_time(info.started_at),
    }
    if info.ended_at is not None:
        document["endTime"] = service_time(info.ended_at)
        if info.exit_code is not None:
            document["exitCode"] = info.exit_code
    if node.plan.profile.is_container:
        error = info.failure.container_error if info.failure else None
        name = fake_guid("container", node.id, info.started_at).replace("-", "")
        state = "created" if error else ("exited" if is_over else "running")
        document["containerInfo"] = _container(name, state, error)
    if info.failure is not None:
        document["failureInfo"] = failure_document(info.failure)
    if is_over:
        document["result"] = "success" if info.failure is None else "failure"
    document["retryCount"] = info.retry_count
    if info.last_retry_at is not None:
        document["lastRetryTime"] = service_time(info.last_retry_at)
    return document


def task_document(task: Task, base: str) -> Json:
    """Return one TaskInformation."""
    execution: Json = {"startTime": service_time(task.started_at)}
    if task.ended_at is not None:
        execution["endTime"] = service_time(task.ended_at)
        if task.exit_code is not None:
            execution["exitCode"] = task.exit_code
    if task.container_id is not None:
        error = task.failure.container_error if task.failure else None
        state = "created" if error else ("exited" if task.is_completed else "running")
        execution["containerInfo"] = _container(task.container_id, state, error)
    if task.failure is not None:
        execution["failureInfo"] = failure_document(task.failure)
    if task.ended_at is not None:
        execution["result"] = "success" if task.failure is None else "failure"
    execution["retryCount"] = task.retry_count
    if task.last_retry_at is not None:
        execution["lastRetryTime"] = service_time(task.last_retry_at)
    execution["requeueCount"] = task.requeue_count
    if task.last_requeue_at is not None:
        execution["lastRequeueTime"] = service_time(task.last_requeue_at)
    document: Json = {
        "taskUrl": f"{base}/jobs/{task.job_id}/tasks/{task.task_id}",
        "jobId": task.job_id,
        "taskId": task.task_id,
    }
    if task.subtask_id is not None:
        document["subtaskId"] = task.subtask_id
    document["taskState"] = task.state
    document["executionInfo"] = execution
    return document
