"""A pool's JSON with the members of every api-version, in the order of the recordings."""

import copy
from typing import Any

from ..streams import digest, stream
from ..times import HOUR, MINUTE, SECOND, fine_service_time, service_time
from .pools import Pool
from .troubles import ResizeProblem
from .usage import Usage

Json = dict[str, Any]

#: The order of the recordings; names that no recording has follow the contract's order.
_ORDER = (
    "id", "displayName", "url", "eTag", "lastModified", "creationTime", "state",
    "stateTransitionTime", "allocationState", "allocationStateTransitionTime", "vmSize",
    "vmSkuProfile", "resizeTimeout", "resizeErrors", "currentDedicatedNodes", "targetDedicatedNodes",
    "currentLowPriorityNodes", "targetLowPriorityNodes", "enableAutoScale", "autoScaleFormula",
    "autoScaleEvaluationInterval", "autoScaleRun", "enableInterNodeCommunication", "startTask",
    "userAccounts", "certificateReferences", "applicationPackageReferences", "metadata",
    "taskSlotsPerNode", "taskSchedulingPolicy", "virtualMachineConfiguration", "stats",
    "mountConfiguration", "identity", "resourceTags", "networkConfiguration",
    "targetNodeCommunicationMode", "currentNodeCommunicationMode", "upgradePolicy",
)  # fmt: skip

_FORMULA = (
    "startingNumberOfVMs = {low};\nmaxNumberofVMs = {high};\n"
    "pendingTaskSamplePercent = $PendingTasks.GetSamplePercent(180 * TimeInterval_Second);\n"
    "pendingTaskSamples = pendingTaskSamplePercent < 70 ? startingNumberOfVMs :"
    " avg($PendingTasks.GetSample(180 * TimeInterval_Second));\n"
    "$TargetDedicatedNodes = min(maxNumberofVMs, pendingTaskSamples);\n"
    "$NodeDeallocationOption = taskcompletion;"
)


def etag(pool: Pool) -> str:
    """Return the pool's ETag, in the form of the recordings: ``0x8DC5FE40AAFABD1``."""
    return f"0x8D{digest('etag', pool.id, pool.modified_at).hex()[:12].upper()}"


def pool_document(pool: Pool, base: str, usage: Usage | None = None, now: int = 0) -> Json:
    """Return one CloudPool with the members of every api-version.

    With ``usage`` it has the ``stats`` that ``$expand`` asks for.
    """
    config = pool.plan.config
    fixed = pool.plan.profile.pool(pool.id)
    document: Json = {"id": pool.id}
    if "displayName" in fixed:
        document["displayName"] = fixed.pop("displayName")
    document |= {
        "url": f"{base}/pools/{pool.id}",
        "eTag": etag(pool),
        "lastModified": fine_service_time(pool.modified_at),
        "creationTime": fine_service_time(pool.created_at),
        "state": pool.state,
        "stateTransitionTime": fine_service_time(pool.state_since),
        "allocationState": pool.allocation_state,
        "allocationStateTransitionTime": fine_service_time(pool.allocation_since),
        "vmSize": "Mix" if config.vm_size_mix else config.vm_size,
        "resizeTimeout": "PT15M",
        "currentDedicatedNodes": len(pool.dedicated),
        "targetDedicatedNodes": pool.target_dedicated,
        "currentLowPriorityNodes": len(pool.spot),
        "targetLowPriorityNodes": pool.target_spot,
        "enableAutoScale": config.autoscale is not None,
    }
    if config.vm_size_mix:
        sizes = [{"name": name, "rank": rank} for rank, name in enumerate(config.vm_size_mix)]
        document["vmSkuProfile"] = {"vmSizes": sizes, "allocationStrategy": "prioritized"}
    if pool.resize_problems:
        document["resizeErrors"] = [_resize_error(problem) for problem in pool.resize_problems]
    if config.autoscale is not None:
        document |= _autoscale(pool)
    document["enableInterNodeCommunication"] = config.work.gang_size > 0
    if config.start_task.is_present:
        document["startTask"] = copy.deepcopy(pool.plan.start_task(pool.plan.start_task_key(now)))
    document["taskSlotsPerNode"] = config.task_slots
    order = "creationtime" if config.work.jobs > 1 else "none"
    fill = pool.plan.profile.fill
    document["taskSchedulingPolicy"] = {"nodeFillType": fill, "jobDefaultOrder": order}
    document |= fixed
    if pool.plan.image is not None:
        machine = document["virtualMachineConfiguration"]
        machine["imageReference"] = pool.plan.image_reference(pool.plan.image_release(now))
        machine["nodeAgentSKUId"] = pool.plan.image.node_agent_sku_id
    if usage is not None:
        document["stats"] = _stats(pool, base, usage, now)
    return {name: document[name] for name in _ORDER if name in document}


def _resize_error(problem: ResizeProblem) -> Json:
    document: Json = {"code": problem.code, "message": problem.message}
    if problem.values:
        document["values"] = [{"name": name, "value": value} for name, value in problem.values]
    return document


def _autoscale(pool: Pool) -> Json:
    scale = pool.plan.config.autoscale
    assert scale is not None
    low, high = scale.min_dedicated + scale.min_spot, scale.max_dedicated + scale.max_spot
    minutes = int(scale.interval_minutes)
    document: Json = {
        "autoScaleFormula": _FORMULA.format(low=low, high=high),
        "autoScaleEvaluationInterval": f"PT{minutes // 60}H" if minutes % 60 == 0 else
        f"PT{minutes}M",
    }  # fmt: skip
    if pool.autoscale_at is not None:
        run: Json = {"timestamp": fine_service_time(pool.autoscale_at)}
        if pool.autoscale_results:
            run["results"] = pool.autoscale_results
        error = pool.autoscale_error
        if error is not None:
            run["error"] = {
                "code": error.code,
                "message": error.message,
                "values": [{"name": "Message", "value": error.detail}],
            }
        document["autoScaleRun"] = run
    return document


def _duration(micros: int) -> str:
    hours, rest = divmod(micros, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    return f"P{hours // 24}DT{hours % 24}H{minutes}M{rest // SECOND}S"


def _stats(pool: Pool, base: str, usage: Usage, now: int) -> Json:
    """Return lifetime statistics: core time is counted, the rest is made up from the seed."""
    values = stream(pool.plan.seed, pool.id, "stats", now // HOUR)
    window = {
        "startTime": fine_service_time(pool.created_at),
        "lastUpdateTime": service_time(now // (30 * MINUTE) * 30 * MINUTE),
    }
    return {
        "url": f"{base}/lifetimepoolstats",
        **window,
        "usageStats": {**window, "dedicatedCoreTime": _duration(usage.total)},
        "resourceStats": {
            **window,
            "avgCPUPercentage": round(values.uniform(30, 90), 3),
            "avgMemoryGiB": round(values.uniform(4, 20), 3),
            "peakMemoryGiB": round(values.uniform(20, 32), 3),
            "avgDiskGiB": round(values.uniform(10, 60), 3),
            "peakDiskGiB": round(values.uniform(60, 200), 3),
            "diskReadIOps": values.randrange(10**9),
            "diskWriteIOps": values.randrange(10**9),
            "diskReadGiB": round(values.uniform(0, 9000), 3),
            "diskWriteGiB": round(values.uniform(0, 9000), 3),
            "networkReadGiB": round(values.uniform(0, 9000), 3),
            "networkWriteGiB": round(values.uniform(0, 9000), 3),
        },
    }
