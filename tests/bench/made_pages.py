"""Made-up pages of a node listing: 1,000 nodes a page, some 4 KB a node, four recent tasks on average.

The shape is that of the service's own pages: a start task that all nodes of a pool share, times with
seven digits, failures here and there. What they hold is made up.
"""

from __future__ import annotations

import json
import random
from typing import Any

NODES_PER_PAGE = 1000
#: One node in so many has errors; a page has some, however short.
NODES_PER_ERROR = 50
PAGES_PER_POOL = 10
_DATA = "sv=2022-11-02&sr=b&sig=abcDEF{}%2Bxyz%3D&se=2026-01-01"
_ACCOUNT = "https://acct.westeurope.batch.azure.com"

START_TASK: dict[str, Any] = {
    "commandLine": "/bin/bash -c 'set -e; apt-get update && apt-get install -y python3 "
    "&& ./prepare.sh --data /mnt/data > /dev/null'",
    "resourceFiles": [
        {
            "httpUrl": f"https://acct.blob.core.windows.net/c/file{i}.zip?{_DATA.format(i)}",
            "filePath": f"file{i}.zip",
        }
        for i in range(3)
    ],
    "environmentSettings": [{"name": f"ENV_{i}", "value": "v" * 40 + str(i)} for i in range(8)],
    "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
    "maxTaskRetryCount": 2,
    "waitForSuccess": True,
}

ERRORS = [
    {
        "code": "DiskFull",
        "message": "There is not enough disk space on the node",
        "errorDetails": [{"name": "FreeBytes", "value": "1048576"}],
    },
    {"code": "NodeAgentStopped", "message": "The node agent stopped reporting"},
]


def pools(pages: int, nodes: int = NODES_PER_PAGE, distinct: int = 10) -> dict[str, list[bytes]]:
    """Pages of listings by pool, ten a pool; no node is in two of a pool.

    Only ``distinct`` pages are made, the others are the same with other node ids.
    """
    made = [_page(random.Random(number), nodes) for number in range(min(pages, distinct))]
    listed: dict[str, list[bytes]] = {}
    for number in range(pages):
        body = made[number % len(made)].replace(
            b"tvmps_", b"tvm%02d_" % (number // len(made) % 100)
        )
        listed.setdefault(f"pool{number // PAGES_PER_POOL}", []).append(body)
    return listed


def _page(chance: random.Random, nodes: int) -> bytes:
    value = [_node(chance, number) for number in range(nodes)]
    page = {"odata.metadata": f"{_ACCOUNT}/$metadata#nodes", "value": value}
    return json.dumps(page, separators=(",", ":")).encode()


def _time(chance: random.Random, hour: int) -> str:
    minute, second, fraction = (chance.randrange(n) for n in (60, 60, 10**7))
    return f"2026-11-21T{hour:02}:{minute:02}:{second:02}.{fraction:07}Z"


def _node(chance: random.Random, number: int) -> dict[str, Any]:
    node_id = f"tvmps_{chance.getrandbits(256):064x}_d"
    return {
        "id": node_id,
        "url": f"{_ACCOUNT}/pools/pool1/nodes/{node_id}",
        "state": chance.choice(["idle", "running"]),
        "schedulingState": "enabled",
        "stateTransitionTime": _time(chance, 3),
        "lastBootTime": _time(chance, 2),
        "allocationTime": _time(chance, 1),
        "ipAddress": f"10.0.{number // 256}.{number % 256}",
        "affinityId": f"TVM:{node_id}",
        "vmSize": "standard_d4s_v3",
        "totalTasksRun": chance.randrange(100),
        "runningTasksCount": 1,
        "runningTaskSlotsCount": 1,
        "totalTasksSucceeded": chance.randrange(90),
        "recentTasks": [_task(chance, number, k) for k in range(chance.choice([2, 4, 4, 6]))],
        "startTask": START_TASK,
        **({"errors": ERRORS} if number % NODES_PER_ERROR == 0 else {}),
        "startTaskInfo": {
            "state": "completed",
            "startTime": _time(chance, 2),
            "endTime": _time(chance, 2),
            "exitCode": 0,
            "retryCount": 0,
            "result": "success",
        },
        "isDedicated": True,
        "endpointConfiguration": {
            "inboundEndpoints": [
                {
                    "name": "SSHRule.0",
                    "protocol": "tcp",
                    "publicIPAddress": "20.1.2.3",
                    "publicFQDN": "dns1234.westeurope.cloudapp.azure.com",
                    "frontendPort": 50000 + number,
                    "backendPort": 22,
                }
            ]
        },
        "nodeAgentInfo": {"version": "1.11.14", "lastUpdateTime": _time(chance, 1)},
        "virtualMachineInfo": {
            "imageReference": {
                "publisher": "canonical",
                "offer": "ubuntu",
                "sku": "22_04",
                "version": "latest",
                "exactVersion": "22.04.202611",
            }
        },
    }


def _task(chance: random.Random, number: int, k: int) -> dict[str, Any]:
    info: dict[str, Any] = {
        "startTime": _time(chance, 4),
        "endTime": _time(chance, 5),
        "exitCode": k % 2,
        "retryCount": 0,
        "requeueCount": 0,
        "result": "success",
    }
    if k % 2:
        info["failureInfo"] = {
            "category": "usererror",
            "code": "FailureExitCode",
            "message": "The task exited with an exit code representing a failure",
            "details": [
                {
                    "name": "Message",
                    "value": "The task process exited with an unexpected exit code",
                }
            ],
        }
    return {
        "taskUrl": f"{_ACCOUNT}/jobs/job{k}/tasks/task-{number}-{k}",
        "jobId": f"job{k}",
        "taskId": f"task-{number}-{k}",
        "taskState": "completed",
        "executionInfo": info,
    }
