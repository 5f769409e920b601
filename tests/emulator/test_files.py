"""Files on nodes: lists, bytes, ranges, refusals, and what start tasks wrote."""

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from pipeline.emulator import (
    API_VERSIONS,
    PLANTED_LOG_SECRETS,
    Emulator,
    Fault,
    FaultyNodes,
    Fleet,
    FleetConfig,
    PoolConfig,
    Rates,
    StartTask,
)

from .client import Client
from .conftest import START

#: Every state that refuses files, and with which code; versions.md names the codes.
REFUSED = {
    "creating": "NodeBeingCreated",
    "starting": "NodeBeingStarted",
    "rebooting": "NodeBeingRebooted",
    "reimaging": "NodeBeingReimaged",
    "unusable": "NodeStateUnusable",
    "unknown": "NodeStateUnusable",
    "leavingpool": "NodeNotReady",
    "preempted": "OperationInvalidForCurrentState",
    "deallocated": "OperationInvalidForCurrentState",
    "deallocating": "OperationInvalidForCurrentState",
    "upgradingos": "OperationInvalidForCurrentState",
}


def config() -> FleetConfig:
    """Pools whose start tasks fail often, on Linux, in containers and on Windows."""
    often = Rates(
        reboots=3.0, reimages=2.0, unusable=2.0, unknown=2.0, preemptions=2.0, os_upgrades=2.0,
        deallocations=2.0,
    )  # fmt: skip
    start = StartTask(failure_rate=0.4, retry_limit=1, seconds=60.0)
    return FleetConfig(
        pools=(
            PoolConfig(
                id="linux", dedicated=60, spot=20, rates=often, start_task=start,
                faulty_nodes=FaultyNodes(stuck=1), removals_per_day=30.0,
            ),
            PoolConfig(id="boxes", profile="containers", dedicated=30, rates=often, start_task=start),
            PoolConfig(id="windows", profile="windows", dedicated=20, start_task=start),
            PoolConfig(id="plain", dedicated=3, start_task=StartTask(is_present=False)),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Client:
    """A client to that fleet after twelve hours. Read only: tests share it."""
    fleet = Fleet(config(), seed=5, start=START)
    fleet.advance(START + timedelta(hours=12))
    return Client(Emulator(fleet, sleep=lambda seconds: None))


def nodes_of(client: Client, pool: str, **where: Any) -> list[dict[str, Any]]:
    """The nodes of a pool that can be asked for files and whose startTaskInfo has these members."""
    return [
        node
        for node in client.items(f"/pools/{pool}/nodes")
        if node["state"] not in REFUSED
        and all(node.get("startTaskInfo", {}).get(name) == value for name, value in where.items())
    ]


def path_of(node: dict[str, Any], file: str = "") -> str:
    """The path of a node's files, or of one of them."""
    path: str = "/" + node["url"].split("/", 3)[3] + "/files"
    return f"{path}/{file}" if file else path


def head(client: Client, path: str, **headers: str) -> httpx.Response:
    """HEAD of a path."""
    return client.http.head(path, params={"api-version": "2024-07-01.20.0"}, headers=headers)


def test_list(client: Client) -> None:
    """The top level without recursion, all with it; directories have no properties."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    top = client.items(path_of(node))
    names = [file["name"] for file in top]
    assert names == sorted(names)
    assert {"applications", "fsmounts", "shared", "startup", "volatile", "workitems"} == set(names)
    assert all(file["isDirectory"] and "properties" not in file for file in top)
    every = {
        file["name"]: file for file in client.items(path_of(node), recursive="true", maxresults=3)
    }
    assert {"startup/stdout.txt", "startup/stderr.txt", "startup/wd"} < set(every)
    file = every["startup/stderr.txt"]
    assert f"{node['url']}/files/startup/stderr.txt" == file["url"]
    assert {"lastModified", "contentLength", "contentType", "fileMode"} == set(file["properties"])
    some = client.items(path_of(node), recursive="true", _filter="startswith(name, 'startup/st')")
    assert ["startup/stderr.txt", "startup/stdout.txt"] == [file["name"] for file in some]
    assert 400 == client.get(path_of(node), recursive="perhaps").status_code


def test_windows(client: Client) -> None:
    """A Windows node's names have backslashes, creation times and no mode."""
    (node, *_) = nodes_of(client, "windows", exitCode=0)
    every = {file["name"]: file for file in client.items(path_of(node), recursive="true")}
    assert {"startup\\stdout.txt", "startup\\ProcessEnv.cmd"} < set(every)
    properties = every["startup\\stdout.txt"]["properties"]
    assert "creationTime" in properties
    assert "fileMode" not in properties
    reply = client.get(path_of(node, "startup/stdout.txt"))
    assert b"\r\n" in reply.content
    assert "ocp-creation-time" in reply.headers
    assert "ocp-batch-file-mode" not in reply.headers


@pytest.mark.parametrize("version", API_VERSIONS)
def test_content_length_by_version(client: Client, version: str) -> None:
    """An integer in 2024, text from 2025 on."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    files = client.items(path_of(node), recursive="true", **{"api-version": version})
    kinds = {type(file["properties"]["contentLength"]) for file in files if "properties" in file}
    assert {int if version.startswith("2024") else str} == kinds


@pytest.mark.parametrize("escape", [False, True])
def test_head_and_get(client: Client, escape: bool) -> None:
    """HEAD gives length and times, GET gives the bytes, whichever way the slash is written."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    path = path_of(node, "startup%2Fstdout.txt" if escape else "startup/stdout.txt")
    properties = head(client, path)
    assert 200 == properties.status_code
    assert b"" == properties.content
    reply = client.get(path)
    assert (200, "identity") == (
        reply.status_code, reply.headers.get("content-encoding", "identity")
    )  # fmt: skip
    assert properties.headers["content-length"] == str(len(reply.content))
    for name in ("etag", "last-modified", "content-type", "ocp-batch-file-mode",
                 "ocp-batch-file-isdirectory", "ocp-batch-file-url", "content-length"):  # fmt: skip
        assert properties.headers[name] == reply.headers[name]
    assert "false" == reply.headers["ocp-batch-file-isdirectory"]
    assert f"{node['url']}/files/startup/stdout.txt" == reply.headers["ocp-batch-file-url"]
    ended = node["startTaskInfo"]["endTime"][:19] + "+00:00"
    assert ended == parsedate_to_datetime(reply.headers["last-modified"]).isoformat()
    assert "true" == head(client, path_of(node, "startup")).headers["ocp-batch-file-isdirectory"]


def test_ranges(client: Client) -> None:
    """Both ends count; an end beyond the file is cut; the rest is 416 or 400."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    path = path_of(node, "startup/stdout.txt")
    whole = client.get(path).content
    last = len(whole) - 1

    def part(text: str) -> httpx.Response:
        return client.get(path, headers={"ocp-range": text})

    for text, expected in (
        ("bytes=0-0", whole[:1]),
        ("bytes=3-9", whole[3:10]),
        (f"bytes={last}-{last}", whole[-1:]),
        (f"bytes={last - 4}-{last + 4096}", whole[-5:]),
        ("bytes=5-", whole[5:]),
    ):
        reply = part(text)
        assert (200, expected) == (reply.status_code, reply.content)
        assert str(len(expected)) == reply.headers["content-length"]
    for text in (f"bytes={last + 1}-{last + 9}", "bytes=9-3", f"bytes={10**17}-"):
        reply = part(text)
        assert (416, "InvalidRange") == (reply.status_code, reply.json()["code"])
    for text in ("bytes=-5", "lines=0-3", "bytes=a-b", "bytes=0-3,5-7"):
        reply = part(text)
        assert (400, "InvalidHeaderValue") == (reply.status_code, reply.json()["code"])


def test_conditions(client: Client) -> None:
    """Conditions by time hold; those by tag are not for files."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    path = path_of(node, "startup/stderr.txt")
    modified = client.get(path).headers["last-modified"]
    assert 304 == client.get(path, headers={"If-Modified-Since": modified}).status_code
    long_ago = {"If-Unmodified-Since": "Thu, 01 Oct 2026 00:00:00 GMT"}
    assert 412 == client.get(path, headers=long_ago).status_code
    assert 200 == client.get(path, headers={"If-Match": "other"}).status_code


def test_what_is_not_there(client: Client) -> None:
    """No such node, file or directory: three codes; a failed HEAD has a status and no body."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    for path, code in (
        ("/pools/none/nodes/x/files/startup/stdout.txt", "PoolNotFound"),
        ("/pools/linux/nodes/none/files", "NodeNotFound"),
        ("/pools/linux/nodes/none/files/startup/stdout.txt", "NodeNotFound"),
        (path_of(node, "startup/none.txt"), "FileNotFound"),
        (path_of(node, "none.txt"), "FileNotFound"),
        (path_of(node, "startup"), "FileNotFound"),
        (path_of(node, "nowhere/none.txt"), "PathNotFound"),
        (path_of(node, "startup/stdout.txt/x"), "PathNotFound"),
    ):
        reply = client.get(path)
        assert (404, code) == (reply.status_code, reply.json()["code"]), path
    reply = head(client, path_of(node, "startup/none.txt"))
    assert (404, b"") == (reply.status_code, reply.content)
    (plain, *_) = nodes_of(client, "plain")
    assert "startup" not in {file["name"] for file in client.items(path_of(plain))}
    assert "PathNotFound" == client.get(path_of(plain, "startup/stdout.txt")).json()["code"]


def test_a_command_that_never_ran_wrote_nothing(client: Client) -> None:
    """Where a resource file or an image could not be had there are no files: FileNotFound."""
    nodes = [
        node
        for pool in ("linux", "boxes")
        for node in nodes_of(client, pool, result="failure")
        if "exitCode" not in node["startTaskInfo"]
    ]
    assert nodes
    for node in nodes:
        reply = client.get(path_of(node, "startup/stderr.txt"))
        assert (404, "FileNotFound") == (reply.status_code, reply.json()["code"])


def test_every_state_that_refuses() -> None:
    """In each state without a working agent files are 409 with that state's code."""
    fleet = Fleet(config(), seed=5, start=START)
    client = Client(Emulator(fleet))
    met = set()
    for _ in range(400):
        fleet.advance(fleet.now + timedelta(minutes=2))
        for node in client.items("/pools/linux/nodes", _select="id,state,url"):
            code = REFUSED.get(node["state"])
            if code is not None and node["state"] not in met:
                met.add(node["state"])
                for path in (path_of(node), path_of(node, "startup/stderr.txt")):
                    reply = client.get(path)
                    assert (409, code) == (reply.status_code, reply.json()["code"])
                assert 409 == head(client, path_of(node, "startup/stderr.txt")).status_code
        if met == set(REFUSED):
            break
    assert set(REFUSED) == met


def test_a_pool_that_is_being_deleted() -> None:
    """Its nodes are listed a while longer, their files are not to be had."""
    pool = PoolConfig(id="p", dedicated=5, delete_after_hours=1.0)
    fleet = Fleet(FleetConfig(pools=(pool,)), start=START)
    client = Client(Emulator(fleet))
    fleet.advance(START + timedelta(hours=1, seconds=1))
    (node, *_) = client.items("/pools/p/nodes")
    reply = client.get(path_of(node))
    assert (409, "PoolBeingDeleted") == (reply.status_code, reply.json()["code"])


REASONS = {1: b"permission denied", 2: b"Cannot open", 100: b"Unable to fetch", 124: b"timeout"}


def test_logs_explain_failures(client: Client) -> None:
    """What went wrong is at the end of stderr, and is another thing for every exit code."""
    met = set()
    for node in nodes_of(client, "linux", result="failure"):
        code = node["startTaskInfo"].get("exitCode")
        if code is None:
            continue
        met.add(code)
        stderr = client.get(path_of(node, "startup/stderr.txt")).content
        stdout = client.get(path_of(node, "startup/stdout.txt")).content
        assert REASONS[code] in stderr[-400:]
        assert b"exit %d" % code in stdout[-100:]
    assert len(met) >= 3


def test_logs_hold_planted_secrets(client: Client) -> None:
    """Every planted secret is in the logs of failed start tasks, most in the last 4 KiB."""
    nodes = [
        n for n in nodes_of(client, "linux", result="failure") if "exitCode" in n["startTaskInfo"]
    ]
    for node in nodes[:10]:
        both = b""
        for name in ("stdout", "stderr"):
            both += client.get(path_of(node, f"startup/{name}.txt")).content
        for secret in PLANTED_LOG_SECRETS:
            assert secret.replace("=", "%3D").encode() in both or secret.encode() in both
    lengths = [len(client.get(path_of(n, "startup/stdout.txt")).content) for n in nodes]
    assert min(lengths) < 4096 < max(lengths)


def test_some_logs_are_not_text(client: Client) -> None:
    """Some hold bytes that are no UTF-8, some control characters, most neither."""
    kinds = {"text": 0, "control": 0, "bytes": 0}
    for node in nodes_of(client, "linux"):
        reply = client.get(path_of(node, "startup/stdout.txt"))
        if reply.status_code == 404:
            continue
        try:
            text = reply.content.decode()
        except UnicodeDecodeError:
            kinds["bytes"] += 1
        else:
            kinds["control" if "\x1b" in text or "\0" in text else "text"] += 1
    assert all(kinds.values()), kinds


def test_a_running_log_grows_and_a_new_run_rewrites_it() -> None:
    """The files of a run only grow; with the next run they begin anew."""
    pool = PoolConfig(id="p", dedicated=40, start_task=StartTask(seconds=600.0, failure_rate=0.7))
    fleet = Fleet(FleetConfig(pools=(pool,)), seed=3, start=START)
    client = Client(Emulator(fleet))
    before: dict[str, tuple[str, bytes]] = {}
    grown = rewritten = 0
    for _ in range(180):
        fleet.advance(fleet.now + timedelta(minutes=2))
        for node in nodes_of(client, "p"):
            reply = client.get(path_of(node, "startup/stdout.txt"))
            if reply.status_code != 200 or "startTaskInfo" not in node:
                continue
            begun = node["startTaskInfo"]["startTime"]
            if node["id"] in before:
                old_begun, old = before[node["id"]]
                if old_begun == begun:
                    assert reply.content.startswith(old)
                    grown += len(reply.content) > len(old)
                else:
                    assert not reply.content.startswith(old)
                    rewritten += 1
            before[node["id"]] = begun, reply.content
    assert grown
    assert rewritten


def test_logs_are_made_from_the_seed(client: Client) -> None:
    """The same fleet gives the same bytes, one that follows its nodes or one that does not."""
    other = Fleet(config(), seed=5, start=START)
    other.advance(START + timedelta(hours=12))
    again = Client(Emulator(other))
    (node, *_) = nodes_of(client, "linux", result="failure", exitCode=1)
    path = path_of(node, "startup/stderr.txt")
    assert client.get(path).content == again.get(path).content


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("file_not_found", 404, "FileNotFound"),
        ("node_unusable", 409, "NodeStateUnusable"),
        ("throttle", 429, "TooManyRequests"),
        ("busy", 503, "ServerBusy"),
    ],
)
def test_faults_hit_files(client: Client, kind: str, status: int, code: str) -> None:
    """Error kinds answer in place of a file, of its HEAD and of the list."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    faults = client.emulator.faults
    for route, path in (("file", path_of(node, "startup/stderr.txt")), ("files", path_of(node))):
        fault = faults.add(Fault(kind=kind, route=route))  # type: ignore[arg-type]
        reply = client.get(path)
        assert (status, code) == (reply.status_code, reply.json()["code"])
        if route == "file":
            assert status == head(client, path).status_code
        faults.remove(fault)
        assert 200 == client.get(path).status_code


def test_wire_faults_hit_files(client: Client) -> None:
    """A file's bytes break off, come short, or hold more secrets."""
    (node, *_) = nodes_of(client, "linux", exitCode=0)
    path = path_of(node, "startup/stdout.txt")
    whole = client.get(path).content
    faults = client.emulator.faults
    faults.add(Fault(kind="drop", route="file", bytes=10, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(path)
    faults.add(Fault(kind="truncated_json", route="file", bytes=10, times=1))
    assert whole[:10] == client.get(path).content
    faults.add(Fault(kind="planted_secrets", route="file", times=1))
    assert b"planted-password-argument" in client.get(path).content
    faults.clear()
    assert whole == client.get(path).content
