"""The output of failed start tasks: fetched once, of few nodes, redacted, and never at a run's cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline import cli, query, snapshot
from pipeline.cli.console import escape
from pipeline.emulator import PLANTED_LOG_SECRETS, FleetConfig
from pipeline.emulator.config import PoolConfig, Resize, StartTask
from pipeline.emulator.fleet.node_files import node_files
from pipeline.lake import Lake
from pipeline.redact import Redactor, redact_text
from pipeline.snapshot import start_task_output as output
from tests.service import Service, make_service, rows

#: What a real log holds beside its text.
ROW_KEYS = "pool_id, node_id, allocation_time, start_time"


def failing(**nodes: int) -> FleetConfig:
    """Pools that grow from nothing and whose start tasks all fail, without a retry."""
    task = StartTask(failure_rate=1.0, retry_limit=0, seconds=5.0)
    return FleetConfig(
        pools=tuple(
            PoolConfig(
                id=pool,
                dedicated=0,
                resizes=(Resize(after_hours=0.02, dedicated=count),),
                start_task=task,
            )
            for pool, count in nodes.items()
        )
    )


def failed_service(hours: float = 0.3, **nodes: int) -> Service:
    """An account twenty minutes old, its start tasks failed."""
    service = make_service(failing(**(nodes or {"alpha": 6, "beta": 3})))
    fleet = service.emulator.fleet
    fleet.advance(fleet.now + timedelta(hours=hours))
    return service


def truth(service: Service) -> dict[tuple[str, str, datetime], dict[str, bytes]]:
    """The files of every node whose start task failed, by pool, node and start of the run."""
    fleet = service.emulator.fleet
    found = {}
    for pool in fleet.pools():
        for node in fleet.nodes(pool):
            info = node.start_task_info
            if info is None or info.failure is None:
                continue
            files = {file.path: file.content for file in node_files(node, fleet.now_micros)}
            began = datetime.fromtimestamp(info.started_at // 1_000_000, UTC)
            began += timedelta(microseconds=info.started_at % 1_000_000)
            found[pool.plan.config.id, node.id, began] = {
                name: content
                for name in ("stdout", "stderr")
                if (content := files.get(f"startup/{name}.txt")) is not None
            }
    return found


def stored(lake: Lake | Path) -> list[dict[str, Any]]:
    """Every row of the table."""
    return rows(lake, "from start_task_output order by pool_id, node_id, file")


def test_both_files_of_every_failed_node_are_stored_redacted(tmp_path: Path) -> None:
    """Their last 4 KiB as they are on the node, but for secrets; and how large they are."""
    service = failed_service()
    assert service.run(Lake(tmp_path), capture_start_task_output=True).exit_code == 0
    expected = truth(service)
    found = stored(tmp_path)
    assert len(expected) >= 5
    assert {(r["pool_id"], r["node_id"], r["start_time"]) for r in found} == {*expected}
    assert len(found) == 2 * len(expected)
    for row in found:
        files = expected[row["pool_id"], row["node_id"], row["start_time"]]
        if row["file"] not in files:
            assert (row["error_code"], row["text"]) == ("FileNotFound", None)
            continue
        whole = files[row["file"]]
        text = redact_text(whole.decode("utf-8", "backslashreplace"))
        assert row["text"] == text[-len(row["text"]) :]
        assert row["bytes"] == len(whole)
        assert row["is_truncated"] == (len(whole) > 4096)
        assert row["is_truncated"] or row["text"] == text
        assert len(row["text"].encode()) <= 4096
        assert row["error_code"] is None
        assert not [secret for secret in PLANTED_LOG_SECRETS if secret in row["text"]]
    assert any("[redacted]" in (row["text"] or "") for row in found)
    assert any("\\xe9" in (row["text"] or "") for row in found)
    assert any(row["is_truncated"] for row in found)
    ledger = rows(tmp_path, "from snapshots")[0]
    assert ledger["start_task_output_rows"] == len(found)


def test_a_run_is_captured_once(tmp_path: Path) -> None:
    """The next snapshot fetches what failed since, and nothing else."""
    service, lake = failed_service(), Lake(tmp_path)
    service.run(lake, capture_start_task_output=True)
    first = {(r["pool_id"], r["node_id"], r["start_time"]) for r in stored(lake)}
    service.run(lake, capture_start_task_output=True)
    assert len(stored(lake)) == 2 * len(first)
    fleet = service.emulator.fleet
    fleet.advance(
        fleet.now + timedelta(hours=30)
    )  # nodes are rebooted: their start tasks run again
    service.run(lake, capture_start_task_output=True)
    later = {(r["pool_id"], r["node_id"], r["start_time"]) for r in stored(lake)} - first
    assert later
    assert later == {*truth(service)} - first
    together = f"select count(*) as n from start_task_output group by {ROW_KEYS}, file"
    assert {row["n"] for row in rows(lake, together)} == {1}


def test_the_question_shows_the_output_of_the_last_run_of_a_cause(tmp_path: Path) -> None:
    """With output=true; without it the columns are there and empty."""
    service, lake = failed_service(), Lake(tmp_path)
    service.run(lake, capture_start_task_output=True)
    with query.connect(lake) as connection:
        plain = connection.ask("start_task_failures").to_pylist()
        answers = connection.ask("start_task_failures", output=True).to_pylist()
    assert plain
    assert {(row["stderr"], row["stdout"]) for row in plain} == {(None, None)}
    ours = {(row["pool_id"], row["exit_code"]): row for row in answers}
    for row in stored(lake):
        if row["text"]:
            answer = ours[row["pool_id"], row["exit_code"]]
            assert answer[row["file"]]
            if answer["last_start_time"] == row["start_time"]:
                assert answer[row["file"]] == row["text"]


def test_a_node_s_story_ends_with_what_its_start_task_wrote(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], whole: bool
) -> None:
    """Its last lines, no control character raw, no secret; a refusal by its code."""
    service, lake = failed_service(), Lake(tmp_path)
    service.run(lake, capture_start_task_output=True)
    rows = stored(lake)
    refused = [row for row in rows if row["text"] is None]
    for row in rows if whole else [*rows[:2], *refused[:1]]:
        arguments = ["node", row["pool_id"], row["node_id"], "--lake", str(lake)]
        assert cli.run([*arguments, "--format", "table"]) == 0
        printed = capfd.readouterr().out
        assert (
            f"{row['file']} of the start task of {row['start_time']:%Y-%m-%d %H:%M:%S}" in printed
        )
        assert "\x1b[31m" not in printed.replace("\\x1b", "")
        assert not [secret for secret in PLANTED_LOG_SECRETS if secret in printed]
        if row["text"] is None:
            assert row["error_code"] in printed
        else:
            assert escape(row["text"].splitlines()[-1]) in printed
        assert cli.run([*arguments, "--format", "json"]) == 0
        assert "start task of" not in capfd.readouterr().out


def test_without_the_flag_no_file_is_asked_for(tmp_path: Path) -> None:
    """It is off by default."""
    service = failed_service()
    asked: list[str] = []
    transport = service.emulator.transport()

    class Noting(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path)
            return transport.handle_request(request)

    with service.client(transport=Noting()) as client:
        snapshot.run(
            service.account, Lake(tmp_path), client, clock=lambda: service.emulator.fleet.now
        )
    assert asked
    assert not [path for path in asked if "/files" in path]
    assert stored(tmp_path) == []


def test_of_many_nodes_twenty_are_asked_pools_in_turn(tmp_path: Path) -> None:
    """A storm costs no more than twenty nodes, and hides no other pool's failure."""
    service = failed_service(storm=40, other=2)
    service.run(Lake(tmp_path), capture_start_task_output=True)
    found = {(row["pool_id"], row["node_id"]) for row in stored(tmp_path)}
    assert len(found) == 20
    assert len([pool for pool, _ in found if pool == "other"]) == 2


@pytest.mark.parametrize(
    ("kind", "code", "requests"),
    [
        ("node_unusable", "NodeStateUnusable", 1),
        ("node_not_found", "NodeNotFound", 1),
        ("file_not_found", "FileNotFound", 2),
    ],
)
def test_a_node_that_refuses_costs_its_rows_only(
    tmp_path: Path, kind: str, code: str, requests: int
) -> None:
    """The run is complete; the rows say why; what is the node's is not asked for twice."""
    service = failed_service(alpha=3)
    plain = service.run(Lake(tmp_path / "without")).row["requests"]
    service.fault(kind, route="file")
    outcome = service.run(Lake(tmp_path / "with"), capture_start_task_output=True)
    assert outcome.exit_code == 0
    found = stored(tmp_path / "with")
    assert {row["error_code"] for row in found} == {code}
    assert {row["text"] for row in found} == {None}
    assert outcome.row["requests"] == plain + requests * len(found) / 2
    assert outcome.row["error_code"] is None


def test_nothing_is_fetched_by_a_dry_run_or_after_a_failed_one(tmp_path: Path) -> None:
    """A dry run touches no lake; a service that does not answer is not asked for files."""
    service = failed_service()
    service.run(Lake(tmp_path / "dry"), capture_start_task_output=True, dry_run=True)
    assert not (tmp_path / "dry").exists()
    service.fault("forbidden", route="pools")
    outcome = service.run(Lake(tmp_path / "failed"), capture_start_task_output=True)
    assert outcome.exit_code == 1
    assert outcome.row["start_task_output_rows"] == 0


@pytest.mark.parametrize("over", [0, 1, 7, 40, 60, 4000])
def test_a_secret_across_the_cut_is_masked_whole(over: int) -> None:
    """What is kept begins in the middle of a key: the key was masked before it was cut."""
    secret = b"AccountKey=" + b"Zm9vYmFyYmF6cXV4" * 5 + b"==\n"
    kept = output._readable(secret + b"x" * (output.TAIL_BYTES - over), Redactor())
    assert "Zm9v" not in kept
    assert kept.endswith("x")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"caf\xc3\xa9\n", "café\n"),
        (b"caf\xe9\n", "caf\\xe9\n"),
        (b"\xff\xfe\x00a", "\\xff\\xfe\x00a"),
        ("é".encode() * 4096, "é" * 2048),
        (b"a" + "é".encode() * 4096, "é" * 2048),
        ("é".encode() * 4096 + b"a", "é" * 2047 + "a"),
    ],
)
def test_what_is_no_utf8_is_readable(data: bytes, text: str) -> None:
    """Bytes that are no character read \\xNN; half a character at the cut is left out."""
    assert output._readable(data, Redactor()) == text


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 8191, 8192, 8193, 30_000])
@pytest.mark.parametrize("kind", ["ranges", "no ranges", "no range of an empty file"])
def test_a_file_of_any_size_is_read_to_its_end(tmp_path: Path, size: int, kind: str) -> None:
    """By ranges, and by HEAD where it is long; whatever the service makes of a range."""
    service = failed_service(alpha=4)
    transport = service.emulator.transport()
    content = bytes(ord("a") + number % 23 for number in range(size))

    class Files(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if "/files/" not in request.url.path:
                return transport.handle_request(request)
            if request.method == "HEAD":
                return httpx.Response(200, headers={"Content-Length": str(size)})
            if kind == "no ranges":
                return httpx.Response(200, stream=httpx.ByteStream(content))
            if kind == "no range of an empty file" and not size:
                return httpx.Response(416, json={"code": "InvalidRange", "message": {"value": "x"}})
            first, last = map(int, request.headers["ocp-range"].removeprefix("bytes=").split("-"))
            return httpx.Response(206, stream=httpx.ByteStream(content[first : last + 1]))

    with service.client(transport=Files()) as client:
        outcome = snapshot.run(
            service.account,
            Lake(tmp_path),
            client,
            clock=lambda: service.emulator.fleet.now,
            capture_start_task_output=True,
        )
    assert outcome.exit_code == 0
    found = stored(tmp_path)
    assert found
    for row in found:
        assert (row["bytes"], row["is_truncated"], row["error_code"]) == (size, size > 4096, None)
        assert row["text"] == content[-4096:].decode()
