"""Made-up pages of node listings like an account's: some 4 KB a node, and no two nodes or pages alike.

Every pool has a start task of its own that changes now and then; ids, addresses, endpoints and messages
are each node's own; texts hold numbers, escaped quotes, Windows paths and non-ASCII; tasks and start
tasks fail; pools are as several api-versions show them; one page in a hundred has an unknown field.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

NODES_PER_PAGE = 1000
#: One node in so many has errors; a page has some, however short.
NODES_PER_ERROR = 50
PAGES_PER_POOL = 2
#: One page in so many has a field that no version has.
PAGES_PER_UNKNOWN = 100
_SIZES = (
    "standard_d4s_v3",
    "standard_d8s_v5",
    "standard_e16_v5",
    "standard_nc6s_v3",
    "standard_f2s_v2",
)
_LINUX = ("canonical", "ubuntu-24_04-lts", "server", "24.04.2026{:02}01")
_WINDOWS = ("microsoftwindowsserver", "windowsserver", "2022-datacenter", "20348.{:04}.2611")
_WORDS = (
    "bild szene übergang größe файл данные 画像 処理 frame render sim mesh grid node epoch shard "
    "batch retry cache queue daten prüfung évaluation résultat próba"
).split()


def pools(pages: int, nodes: int = NODES_PER_PAGE, *, unknown: int = 0) -> dict[str, list[bytes]]:
    """Pages of listings by pool, two a pool; no node is in two.

    ``unknown``: every node of every page has so many unknown fields; 0 is one page in a hundred.
    """
    listed: dict[str, list[bytes]] = {}
    for number in range(pages):
        pool = number // PAGES_PER_POOL
        made = _Pool(pool)
        many = unknown or int(number % PAGES_PER_UNKNOWN == PAGES_PER_UNKNOWN // 2)
        listed.setdefault(made.id, []).append(made.page(number % PAGES_PER_POOL, nodes, many))
    return listed


class _Pool:
    """One pool: what its nodes share, and its pages."""

    def __init__(self, number: int) -> None:
        self.chance = random.Random(number)
        self.number = number
        self.id = f"pool{number}"
        self.account = "https://acct.westeurope.batch.azure.com"
        self.is_windows = number % 5 == 4
        self.size = self.chance.choice(_SIZES)
        self.is_dedicated = number % 3 > 0
        self.version = ("2024-07-01.20.0", "2025-06-01", "2026-10-01")[number % 3]
        self.start_tasks = [self._start_task(revision) for revision in range(2)]

    def page(self, page: int, nodes: int, unknown: int) -> bytes:
        """One page of its listing."""
        self.chance.seed(f"{self.number}/{page}")
        metadata = f"{self.account}/$metadata#nodes"
        value = [self._node(page * nodes + each, unknown) for each in range(nodes)]
        body = json.dumps({"odata.metadata": metadata, "value": value}, separators=(",", ":"),
                          ensure_ascii=self.number % 2 == 0)  # fmt: skip
        return body.encode()

    def _start_task(self, revision: int) -> dict[str, Any]:
        tool = f"tool-{self.number}-{revision}"
        blobs = f"https://acct.blob.core.windows.net/{tool}"
        sas = "sv=2022-11-02&sr=b&sig=abcDEF{}%2Bxyz%3D&se=2026-01-01"
        line = (
            f'cmd /c "C:\\batch\\{tool}\\setup.cmd /quiet /log C:\\logs\\{tool}.log"'
            if self.is_windows
            else f"/bin/bash -c './{tool}.sh --data \"/mnt/{self.id}\"'"
        )
        return {
            "commandLine": line,
            "resourceFiles": [
                {
                    "httpUrl": f"{blobs}/f{i}.zip?{sas.format(i + revision)}",
                    "filePath": f"{tool}\\f{i}.zip" if self.is_windows else f"{tool}/f{i}.zip",
                }
                for i in range(3)
            ],
            "environmentSettings": [
                {"name": f"ENV_{i}", "value": f"{tool}-{self.chance.getrandbits(128):032x}"}
                for i in range(8)
            ],
            "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
            "maxTaskRetryCount": 2,
            "waitForSuccess": True,
        }

    def _time(self, hour: int) -> str:
        minute, second, fraction = (self.chance.randrange(n) for n in (60, 60, 10**7))
        return f"2026-11-21T{hour:02}:{minute:02}:{second:02}.{fraction:07}Z"

    def _words(self, count: int) -> str:
        return " ".join(self.chance.choice(_WORDS) for _ in range(count))

    def _node(self, number: int, unknown: int) -> dict[str, Any]:
        chance = self.chance
        node_id = f"tvmps_{chance.getrandbits(256):064x}_d"
        publisher, offer, sku, exact = _WINDOWS if self.is_windows else _LINUX
        failed = chance.random() < 0.03
        address = f"10.{self.number % 256}.{number // 256}.{number % 256}"
        node: dict[str, Any] = {
            "id": node_id,
            "url": f"{self.account}/pools/{self.id}/nodes/{node_id}",
            "state": "starttaskfailed" if failed else chance.choice(["idle", "running", "running"]),
            "schedulingState": "enabled",
            "stateTransitionTime": self._time(3),
            "lastBootTime": self._time(2),
            "allocationTime": self._time(1),
            "ipAddress": address,
            "affinityId": f"TVM:{node_id}",
            "vmSize": self.size,
            "totalTasksRun": chance.randrange(1000),
            "runningTasksCount": 1,
            "runningTaskSlotsCount": 1,
            "totalTasksSucceeded": chance.randrange(900),
            "recentTasks": [*self._tasks(chance.choice([2, 4, 4, 6]))],
            "startTask": self.start_tasks[chance.random() < 0.1],
            "startTaskInfo": self._start_task_info(failed),
            "isDedicated": self.is_dedicated,
            "endpointConfiguration": {"inboundEndpoints": [*self._endpoints(number, address)]},
            "nodeAgentInfo": {"version": f"1.11.{chance.choice([14, 14, 15])}",
                              "lastUpdateTime": self._time(1)},
            "virtualMachineInfo": {"imageReference": {
                "publisher": publisher, "offer": offer, "sku": sku, "version": "latest",
                "exactVersion": exact.format(chance.choice([10, 11])),
            }},
        }  # fmt: skip
        if self.version != "2024-07-01.20.0":
            node["ipv6Address"] = f"fd00:{self.number:x}::{number:x}"
        if self.version == "2026-10-01":
            node["publicIPAddress"] = f"20.{self.number % 256}.{number // 256}.{number % 256}"
        if number % NODES_PER_ERROR == 0:
            free = chance.randrange(10**7)
            node["errors"] = [{
                "code": "DiskFull", "message": f'Only {free} bytes are left on "{address}"',
                "errorDetails": [{"name": "FreeBytes", "value": str(free)}],
            }]  # fmt: skip
        for each in range(unknown):
            node[f"futureField{each}"] = {"rank": number, "note": self._words(2)}
        return node

    def _start_task_info(self, failed: bool) -> dict[str, Any]:
        code = self.chance.choice([1, 2, 124])
        info = {"state": "completed", "startTime": self._time(2), "endTime": self._time(2),
                "exitCode": code if failed else 0, "retryCount": int(failed),
                "result": "failure" if failed else "success"}  # fmt: skip
        if failed:
            info["failureInfo"] = self._failure(code)
        return info

    def _endpoints(self, number: int, address: str) -> Iterator[dict[str, Any]]:
        for name, port in (("SSHRule.0", 22), ("MetricsRule.1", 9100)):
            yield {
                "name": name, "protocol": "tcp", "publicIPAddress": address.replace("10.", "20.", 1),
                "publicFQDN": f"dns{self.chance.getrandbits(48):012x}.westeurope.cloudapp.azure.com",
                "frontendPort": 50000 + number % 10000, "backendPort": port,
            }  # fmt: skip

    def _failure(self, code: int) -> dict[str, Any]:
        path = rf"D:\batch\tasks\{self._words(1)}" if self.is_windows else f"/mnt/{self._words(1)}"
        return {
            "category": "usererror",
            "code": "FailureExitCode",
            "message": f'Exited with "{code}" after {self.chance.randrange(10**5)} ms in {path}',
            "details": [{"name": "Message", "value": self._words(8)}],
        }

    def _tasks(self, count: int) -> Iterator[dict[str, Any]]:
        for _ in range(count):
            job, task = (
                f"job-{self.chance.randrange(40)}",
                f"{self._words(1)}-{self.chance.getrandbits(40)}",
            )
            failed = self.chance.random() < 0.1
            info = {
                "startTime": self._time(4), "endTime": self._time(5), "exitCode": int(failed),
                "retryCount": 0, "requeueCount": 0, "result": "failure" if failed else "success",
            }  # fmt: skip
            if failed:
                info["failureInfo"] = self._failure(1)
            yield {
                "taskUrl": f"{self.account}/jobs/{job}/tasks/{task}", "jobId": job, "taskId": task,
                "taskState": "completed", "executionInfo": info,
            }  # fmt: skip
