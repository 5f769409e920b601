"""Importing saved JSON: the kind of a file follows from its content; a second import finds it there."""

from __future__ import annotations

import base64
import gzip
import json
import os
import threading
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline import query, schema
from pipeline.flatten import unflatten as rebuild
from pipeline.lake import Lake
from pipeline.redact import Redactor
from pipeline.snapshot import Outcome
from pipeline.snapshot import imports as saved
from pipeline.snapshot.imports import DiskFile, SavedError, SavedFile, open_file
from tests.conftest import SHARED
from tests.service import make_service, one, rows

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
URL = "https://render.westeurope.batch.azure.com/pools/p1/nodes/"


def node(node_id: str, **more: Any) -> dict[str, Any]:
    """A node as the API lists it."""
    return {
        "id": node_id,
        "url": URL + node_id,
        "state": "idle",
        "allocationTime": "2026-11-21T10:00:00Z",
        "stateTransitionTime": "2026-11-21T11:00:00.1234567Z",
    } | more


def file(value: object, name: str = "saved.json") -> SavedFile:
    """A file with that JSON in it."""
    return SavedFile(name, json.dumps(value).encode())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def store(lake: Lake, *files: SavedFile | DiskFile, **options: Any) -> Outcome:
    """An import at noon."""
    return saved.store(files, lake, **({"at": AT} | options))


PAGE = {"odata.metadata": "https://render.westeurope.batch.azure.com/$metadata#nodes", "value": []}


@pytest.mark.parametrize(
    "value",
    [
        {"value": [node("a"), node("b")]},
        PAGE | {"value": [node("a"), node("b")]},
        [node("a"), node("b")],
    ],
    ids=["page", "page with metadata", "bare list"],
)
def test_pages_and_lists_of_nodes(lake: Lake, value: object) -> None:
    """Account and pool are read from the nodes' urls; the time is the one given."""
    outcome = store(lake, file(value))
    assert outcome.exit_code == 0
    found = rows(lake, "select account, pool_id, node_id, observed_at from nodes order by node_id")
    assert [tuple(row.values()) for row in found] == [
        ("render.westeurope", "p1", "a", AT),
        ("render.westeurope", "p1", "b", AT),
    ]


def test_one_node(lake: Lake) -> None:
    """`az batch node show` or the API's Get prints one object."""
    store(lake, file(node("a")))
    assert one(lake, "select node_id from nodes")["node_id"] == "a"


def test_pools(lake: Lake) -> None:
    """Pools without their nodes: rows of pools whose listing proves nothing."""
    pool = {"id": "p1", "url": URL.removesuffix("/nodes/"), "state": "active", "vmSize": "small"}
    outcome = store(lake, file([pool]))
    assert outcome.exit_code == 0
    assert one(lake, "select pool_id, listing, vm_size from pools") == {
        "pool_id": "p1",
        "listing": "partial",
        "vm_size": "small",
    }


def test_a_list_as_the_azure_cli_prints_it(lake: Lake) -> None:
    """Every property is there, null where it has no value, times with an offset; --pool names it."""
    printed = [
        {
            "affinityId": "TVM:a",
            "allocationTime": "2026-11-21T10:00:00.123456+00:00",
            "certificateReferences": None,
            "endpointConfiguration": {
                "inboundEndpoints": [
                    # publicIPAddress, as the CLI spells it
                    {"name": "ssh", "publicFQDN": "host.example", "publicIpAddress": "20.1.2.3"}
                ]
            },
            "errors": None,
            "id": "a",
            "isDedicated": True,
            "recentTasks": None,
            "startTask": None,
            "state": "idle",
            "url": None,
        }
    ]
    store(lake, file(printed), pool="p1", account="mine")
    row = one(lake, "from nodes")
    assert (row["account"], row["pool_id"], row["is_malformed"]) == ("mine", "p1", False)
    assert row["allocation_time"] == datetime(2026, 11, 21, 10, 0, 0, 123456, UTC)
    assert row["inbound_endpoints"][0]["public_ip_address"] == "20.1.2.3"
    assert one(lake, "select unknown_fields from snapshots")["unknown_fields"] == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_as_powershell_writes_them(lake: Lake, encoding: str) -> None:
    """A byte order mark, or UTF-16, is no obstacle."""
    store(lake, SavedFile("x.json", json.dumps([node("a")]).encode(encoding)))
    assert one(lake, "select node_id from nodes")["node_id"] == "a"


def test_several_files_are_one_snapshot_and_pages_of_a_pool_one_listing(lake: Lake) -> None:
    """Nodes of both pages are there, one that moved between the pages once."""
    link = {"odata.nextLink": URL + "?$skiptoken=x"}
    outcome = store(
        lake,
        file({"value": [node("a"), node("b")], **link}, "1.json"),
        file({"value": [node("b"), node("c")]}, "2.json"),
        complete=True,
    )
    assert outcome.row["duplicates"] == 1
    assert one(lake, "select count(*) as n from snapshots")["n"] == 1
    assert one(lake, "select listing, nodes_listed from pools") == {
        "listing": "complete",
        "nodes_listed": 3,
    }


def test_only_complete_files_prove_absence(lake: Lake) -> None:
    """Without --complete a listing is partial, and so it is where the last page has a next link."""
    store(lake, file([node("a")]))
    link = {"odata.nextLink": URL + "?$skiptoken=x"}
    outcome = store(lake, file({"value": [node("a")], **link}), complete=True)
    assert outcome.exit_code == 0
    assert {row["listing"] for row in rows(lake, "from pools")} == {"partial"}
    store(lake, file([node("a")]), complete=True)
    assert one(lake, "select count(*) as n from pools where listing = 'complete'")["n"] == 1


def test_an_empty_list_is_a_pool_without_nodes_where_the_pool_is_named(lake: Lake) -> None:
    """`[]` and --pool --complete: the pool has no node; without --pool nothing says what it is."""
    with pytest.raises(SavedError, match="--pool"):
        store(lake, file([]), account="mine")
    store(lake, file([]), account="mine", pool="p1", complete=True)
    assert one(lake, "select listing, nodes_listed from pools") == {
        "listing": "complete",
        "nodes_listed": 0,
    }


def test_a_file_that_changes_during_the_import_is_refused(lake: Lake, tmp_path: Path) -> None:
    """Its rows would not be those that the snapshot's id was made from."""
    path = tmp_path / "page.json"
    path.write_bytes(json.dumps([node("a")]).encode())
    named = open_file(path)
    path.write_bytes(json.dumps([node("a"), node("b")]).encode())
    with pytest.raises(SavedError, match=r"page\.json: it changed during the import"):
        store(lake, named)
    assert not (lake.root / "landing").exists()


def test_files_are_read_when_they_are_needed(lake: Lake, tmp_path: Path) -> None:
    """Memory holds no file before its turn: an archive may be larger than memory."""
    files = []
    for number in range(20):
        page = PAGE | {"value": [node(f"n{number}")]}
        path = tmp_path / f"{number}.json"
        path.write_bytes(json.dumps(page).encode() + b" " * (1 << 20))
        files.append(open_file(path))
    tracemalloc.start()
    store(lake, *files)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert one(lake.root, "select count(*) as n from nodes")["n"] == 20
    assert peak < 10 << 20


def test_a_pipe_is_read_once(lake: Lake, tmp_path: Path) -> None:
    """As the shell's ``<(jq . nodes.json)`` is one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[json.dumps([node("a")]).encode()])
    writer.start()
    named = open_file(pipe)
    writer.join()
    assert store(lake, named).row["nodes_rows"] == 1


def test_importing_again_changes_nothing(lake: Lake) -> None:
    """The id is made from the content and what decides how it is stored; the order is no matter."""
    one_file, other = file([node("a")], "1"), file([node("b")], "2")
    first = store(lake, one_file, other)
    again = store(lake, other, one_file)
    assert first.is_stored
    assert not again.is_stored
    assert again.row["snapshot_id"] == first.row["snapshot_id"]
    assert store(lake, one_file, other, complete=True).is_stored


def test_what_is_kept_is_part_of_an_imports_id(lake: Lake) -> None:
    """The same files with --keep-env store other values: another snapshot."""
    first = store(lake, file([node("a")]))
    second = store(lake, file([node("a")]), redactor=Redactor(["SETTING"]))
    assert second.is_stored
    assert first.row["snapshot_id"] != second.row["snapshot_id"]


def test_the_scope_of_an_import_is_the_account_where_it_holds_pools(lake: Lake) -> None:
    """Nodes alone give rows for their own pools only."""
    assert store(lake, file([node("a")])).row["scope"] == "pools"
    pool = {"id": "p1", "taskSlotsPerNode": 1}
    assert store(lake, file([pool]), account="acct").row["scope"] == "account"


def test_a_name_in_two_cases_keeps_both_values(lake: Lake) -> None:
    """The API's own is the column's, whichever comes first; the other one is unknown."""
    endpoint = {"name": "ssh", "publicIpAddress": "203.0.113.1", "publicIPAddress": "203.0.113.2"}
    store(lake, file([node("a", endpointConfiguration={"inboundEndpoints": [endpoint]})]))
    row = one(lake, "select inbound_endpoints, extra_json from nodes")
    assert row["inbound_endpoints"][0]["public_ip_address"] == "203.0.113.2"
    assert "203.0.113.1" in row["extra_json"]


def test_an_uncommitted_import_is_written_anew(lake: Lake) -> None:
    """An import that was killed before its commit leaves data files: they are replaced."""
    outcome = store(lake, file([node("a")]))
    lake.path("snapshots", str(outcome.row["snapshot_id"])).unlink()
    assert store(lake, file([node("a")])).is_stored
    assert one(lake, "select count(*) as n from nodes")["n"] == 1


def test_a_malformed_node_makes_the_import_partial(lake: Lake) -> None:
    """Exit 3; the good nodes are stored."""
    outcome = store(lake, file([node("a", totalTasksRun="12"), node("b")]))
    assert outcome.exit_code == 3
    found = rows(lake, "select node_id, is_malformed from nodes order by 1")
    assert [tuple(row.values()) for row in found] == [("a", True), ("b", False)]


def test_an_element_without_a_valid_id_makes_the_import_partial(lake: Lake) -> None:
    """A pool without one has no row: that something is missing is shown by the exit code."""
    outcome = store(lake, file([{"id": "p1"}, {"taskSlotsPerNode": 1}]), account="acct")
    assert (outcome.exit_code, outcome.row["pools_rows"]) == (3, 1)


def test_a_password_in_a_url_does_not_get_into_the_ledger(lake: Lake) -> None:
    """The endpoint of the nodes' urls is kept, without what precedes its host."""
    url = URL.replace("https://", "https://me:hunter2@") + "a"
    assert store(lake, file(node("a", url=url))).row["batch_url"] == URL.partition("/pools")[0]


@pytest.mark.parametrize("url", ["http://[::1/pools/p/nodes/a", "https://[x]/pools/p/nodes/a"])
def test_a_url_that_is_none_names_nothing(lake: Lake, url: str) -> None:
    """It is kept as it came; --pool and --account name what it does not."""
    store(lake, file([node("a", url=url)]), pool="p1", account="acct")
    assert one(lake, "select pool_id, url from nodes") == {"pool_id": "p1", "url": url}


def test_a_url_with_no_valid_pool_id_names_no_pool(lake: Lake) -> None:
    """An escape sequence, say: --pool names it."""
    url = URL.replace("/p1/", "/%1b%5b31m/") + "a"
    store(lake, file([node("a", url=url)]), pool="p1")
    assert one(lake, "select pool_id from nodes") == {"pool_id": "p1"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b'{"value": [', "not JSON"),
        (b"<html>", "not JSON"),
        (b'[{"id": "a\xff"}]', "not JSON: byte 11 is not a character$"),
        (b'{"id": "a"}\n{"id": "b"}\n', "jq -s . FILE"),
        (gzip.compress(b"[]", mtime=0), "gunzip FILE"),
        (b"12", "neither an object nor a list"),
        (b'{"value": {}}', "list named 'value'"),
        (
            b'{"code": "Forbidden", "message": {"value": "no"}}',
            "an error of the service: Forbidden|Forbidden",
        ),
        (b'{"odata.metadata": "https://x/$metadata#jobs", "value": []}', "only nodes and pools"),
        (b'[{"id": "a"}]', "--pool"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_and_nothing_is_stored(
    lake: Lake, data: bytes, message: str
) -> None:
    """The other files of the import are not stored either: all are one snapshot."""
    with pytest.raises(SavedError, match=message) as raised:
        store(lake, file([node("a")]), SavedFile("bad.json", data))
    assert str(raised.value).startswith("bad.json: ")
    assert not lake.root.exists()


def test_files_of_two_accounts_are_refused(lake: Lake) -> None:
    """An import is of one account."""
    other = node("b") | {"url": URL.replace("render", "film") + "b"}
    with pytest.raises(SavedError, match="one by one"):
        store(lake, file([node("a")]), file([other]))


def test_the_label_of_a_configured_account_stands_for_its_name(lake: Lake) -> None:
    """An imported snapshot and a live one of the same account have the same label."""
    store(lake, file([node("a")]), labels={"render.westeurope": "prod"})
    assert one(lake, "select account from nodes")["account"] == "prod"


def test_what_the_emulator_serves_imports(lake: Lake) -> None:
    """Pages saved with curl give the rows that a live snapshot gives."""
    service = make_service()
    with service.client() as client:
        pages = [page.body for pool in ("alpha", "beta") for page in client.nodes(pool)]
        pages += [page.body for page in client.pools()]
    files = [SavedFile(f"{i}.json", body) for i, body in enumerate(pages)]
    outcome = store(lake, *files, complete=True)
    assert (outcome.exit_code, outcome.row["nodes_rows"]) == (0, 17)
    found = rows(lake, "select pool_id, listing from pools order by 1")
    assert [tuple(row.values()) for row in found] == [
        ("alpha", "complete"),
        ("beta", "complete"),
        ("gamma", "partial"),
    ]


RECORDED = ("nodelist", "nodeget", "poollist", "poolget")


def recordings(kind: str) -> list[Path]:
    """Every recorded response of a kind."""
    return sorted((SHARED / "recordings").glob(f"*-{kind}-*.json"))


def test_every_recording_is_of_a_kind_that_is_imported_or_of_none(shared: Path) -> None:
    """What is left holds neither nodes nor pools: counts and errors."""
    found = {path for kind in RECORDED for path in recordings(kind)}
    left = {*(shared / "recordings").glob("*.json")} - found
    assert len(found) == 178
    assert {"nodecounts", "error"} == {
        "error" if "-error-" in path.name else path.stem.rsplit("-", 2)[-2] for path in left
    }


@pytest.mark.parametrize("kind", RECORDED)
def test_every_recorded_response_imports_and_is_rebuilt_from_the_lake(
    lake: Lake, shared: Path, kind: str
) -> None:
    """From Parquet, each recorded node and pool comes back, but for case, digits and secrets.

    Each recording is an account's of its own: one lake holds them all.
    """
    is_node = kind.startswith("node")
    table, options = ("nodes", {"pool": "p1"}) if is_node else ("pools", {})
    bodies = {path.stem: json.loads(path.read_bytes())["body"] for path in recordings(kind)}
    for name, body in bodies.items():
        assert store(lake, file(body), account=name, **options).exit_code == 0, name
    with query.connect(lake) as connection:
        found, tasks, given = (
            connection.table(f"from {name}").to_pylist()
            for name in (table, "recent_tasks", "start_tasks")
        )
    for name, body in bodies.items():
        sent = body.get("value", [body])
        stored = {row[f"{table[:-1]}_id"]: row for row in found if row["account"] == name}
        assert sorted(stored) == sorted(value["id"] for value in sent), name
        start_tasks = {row["start_task_id"]: row for row in given if row["account"] == name}
        for value in sent:
            row = stored[value["id"]]
            if is_node:
                mine = [
                    task
                    for task in tasks
                    if (task["account"], task["node_id"]) == (name, value["id"])
                ]
                rebuilt = rebuild.node(row, start_tasks.get(row["start_task_id"]), mine)
            else:
                rebuilt = rebuild.pool(row)
            value.pop("odata.metadata", None)
            assert_equal(value, rebuilt, name)


def assert_equal(sent: Any, rebuilt: Any, path: str = "") -> None:
    """Equal within the design's limits: redaction, enum case, digits finer than a microsecond."""
    if rebuilt == schema.REDACTED:
        return
    if isinstance(sent, dict):
        secrets = {"password"} if "registryServer" in sent else set()
        assert rebuilt.keys() == sent.keys() - secrets, path
        for name in rebuilt:
            assert_equal(sent[name], rebuilt[name], f"{path}.{name}")
    elif isinstance(sent, list):
        assert len(rebuilt) == len(sent), path
        for index, (one_sent, one_rebuilt) in enumerate(zip(sent, rebuilt, strict=True)):
            assert_equal(one_sent, one_rebuilt, f"{path}[{index}]")
    elif isinstance(sent, str) and sent.endswith("Z") and sent[:4].isdigit():
        as_sent = datetime.fromisoformat(sent)
        assert abs((datetime.fromisoformat(rebuilt) - as_sent).total_seconds()) < 1e-6, path
    elif isinstance(sent, str):
        assert rebuilt.lower() == sent.lower(), path
    else:
        assert rebuilt == sent, path


def test_no_secret_of_an_unknown_field_gets_into_the_lake(lake: Lake) -> None:
    """By the names passwords go by, as pairs in either order, as arguments, wrapped, in a text."""
    secret = "hUnTeR7x9Qs3cr3t"
    names = "pass auth pat jwt bearer dsn connStr pfx pem cert kubeconfig".split()
    wrapped = base64.encodebytes(f"# {'x' * 90}\nexport DB_PASSWORD={secret}\n".encode()).decode()
    unknown = {
        **dict.fromkeys(names, secret),
        "pairs": [{"value": secret, "name": "PASSWORD"}, {"key": "api-key", "value": secret}],
        "arguments": ["run", "--password", secret],
        "command": ["mysql", "-u", "root", f"-p{secret}"],
        "wrapped": wrapped,
        "text": f"tool --password \\\n  '{secret[:8]}'\"{secret[8:]}\"",
        "reference": "tool --password $PASSWORD",
    }
    pool = {"id": "p1", "virtualMachineConfiguration": {"health": unknown}, "health": unknown}
    store(lake, file({"value": [node("a", health=unknown)]}), file([pool], "pools.json"))
    texts = [
        str(value)
        for table in ("nodes", "pools")
        for row in rows(lake, f"select * from {table}")
        for value in row.values()
    ]

    assert any("tool --password $PASSWORD" in text for text in texts)
    hidden = (secret, secret[:8], secret[8:], wrapped[:60])
    assert not [text for text in texts if any(part in text for part in hidden)]
