"""A machine's JSON at a moment, as the service writes a ComputeNode, and pools beside it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.machines import DAY, Attempt, Change, Machine, StartRun, value_at

Json = dict[str, Any]

ENDPOINT = "https://{account}.westeurope.batch.azure.com"
#: In these states a node has no machine that has booted, or none yet.
_BOOTLESS = ("creating", "starting", "preempted", "deallocated")


def text_of(moment: datetime) -> str:
    """A time as the service writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def node(machine: Machine, moment: datetime, start_tasks: list[Change], rng: random.Random) -> Json:
    """A machine's ComputeNode; ``start_tasks`` are the pool's, by when they were set."""
    states = [change for change in machine.states if change.at <= moment]
    state = states[-1]
    total, succeeded = _totals(machine, moment)
    made: Json = {
        "id": machine.node_id,
        "url": f"https://x.westeurope.batch.azure.com/pools/{machine.pool_id}"
        f"/nodes/{machine.node_id}",
        "state": state.value,
        "schedulingState": value_at(machine.scheduling, moment) or "enabled",
        "stateTransitionTime": text_of(state.at),
        "allocationTime": text_of(machine.allocated),
        "affinityId": f"TVM:{machine.node_id}",
        "totalTasksRun": total,
        "totalTasksSucceeded": succeeded,
    }
    running = [each for each in machine.attempts if each.start <= moment < each.end]
    if state.value == "running":
        made |= {"runningTasksCount": len(running), "runningTaskSlotsCount": len(running)}
    if machine.vm_size is not None:
        made["vmSize"] = machine.vm_size
    if machine.is_dedicated is not None:
        made["isDedicated"] = machine.is_dedicated
    boots = [boot for boot in machine.boots if boot <= moment]
    if boots and state.value not in _BOOTLESS:
        made["lastBootTime"] = text_of(boots[-1])
    tasks = [each for each in machine.attempts if each.known <= moment < each.leaves]
    if tasks:
        made["recentTasks"] = [_task(each, moment) for each in tasks[-10:]]
    start_task = value_at(start_tasks, moment)
    if start_task is not None:
        made["startTask"] = _start_task(start_task)
        runs = [each for each in machine.start_runs if each.start <= moment]
        if runs:
            made["startTaskInfo"] = _start_task_info(runs[-1], moment)
    errors = [code for begins, ends, code in machine.errors if begins <= moment < ends]
    if errors:
        made["errors"] = [{"code": code, "message": f"{code} on it"} for code in errors]
    agent = value_at(machine.agents, moment)
    if agent is not None and state.value not in _BOOTLESS:
        made["nodeAgentInfo"] = {"version": agent, "lastUpdateTime": text_of(machine.allocated)}
    made["virtualMachineInfo"] = {
        "imageReference": {
            "publisher": "canonical",
            "offer": "ubuntu",
            "sku": "server",
            "version": "latest",
            "exactVersion": value_at(machine.images, moment),
        }
    }
    for name, when in machine.missing.items():
        if _is_missing(when, moment, rng):
            made.pop(name, None)
    return made


def spoilt(document: Json, rng: random.Random) -> Json:
    """The same with a value of the wrong type."""
    name, value = rng.choice(
        (("stateTransitionTime", 7), ("totalTasksRun", "many"), ("allocationTime", True))
    )
    return document | {name: value}


def _is_missing(when: str, moment: datetime, rng: random.Random) -> bool:
    if when == "midnight":
        into = timedelta(hours=moment.hour, minutes=moment.minute)
        return into < timedelta(minutes=90) or into > DAY - timedelta(minutes=90)
    return when == "always" or rng.random() < 0.4


def _totals(machine: Machine, moment: datetime) -> tuple[int, int]:
    """Tasks that have completed on it, and those with exit code 0."""
    over = [each for each in machine.attempts if each.end <= moment and not each.has_successor]
    unseen = sum(count for at, count in machine.jumps if at <= moment)
    return len(over) + unseen, sum(each.exit_code == 0 for each in over) + unseen


def _failure(code: str | None) -> Json:
    if code is None:
        return {"result": "success"}
    told = {"category": "userError", "code": code, "message": f"{code} happened"}
    return {"result": "failure", "failureInfo": told}


def _task(attempt: Attempt, moment: datetime) -> Json:
    made: Json = {
        "jobId": attempt.job_id,
        "taskId": attempt.task_id,
        "taskState": "running",
        "executionInfo": {"retryCount": attempt.retry_count, "requeueCount": 0},
    }
    if attempt.subtask_id is not None:
        made["subtaskId"] = attempt.subtask_id
    info = made["executionInfo"]
    if moment >= attempt.start:
        info["startTime"] = text_of(attempt.start)
    if moment >= attempt.end and not attempt.has_successor:
        made["taskState"] = "completed"
        info |= {"endTime": text_of(attempt.end), "exitCode": attempt.exit_code}
        info |= _failure(attempt.failure_code)
    return made


def _start_task(name: str) -> Json:
    """A start task ``DEFINITION RENEWAL``: with another renewal the definition is the same."""
    definition, renewal = name.split()
    url = f"https://files.example.com/c/setup?se={renewal}&sig=c2lnbmF0dXJl{renewal}"
    return {
        "commandLine": f"/bin/setup-{definition}",
        "resourceFiles": [{"httpUrl": url, "filePath": "setup"}],
        "environmentSettings": [{"name": "MODE", "value": f"value-{renewal}"}],
        "maxTaskRetryCount": 2,
        "waitForSuccess": True,
    }


def _start_task_info(run: StartRun, moment: datetime) -> Json:
    made: Json = {
        "state": "running",
        "startTime": text_of(run.start),
        "retryCount": run.retry_count,
    }
    if run.end is not None and moment >= run.end:
        code = None if run.exit_code == 0 else f"StartTaskFailure{run.exit_code}"
        made |= {"state": "completed", "endTime": text_of(run.end), "exitCode": run.exit_code}
        made |= _failure(code)
    return made
