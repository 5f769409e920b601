"""Names that are unknown, answers without rows, alarms, and queries that may only read."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import cli, config
from pipeline.cli.no_rows import reasons
from pipeline.lake import Lake
from pipeline.query import connect
from pipeline.query.nearest import nearest
from pipeline.snapshot import SavedFile, store
from tests.cli.conftest import Terminal
from tests.service import one

pytestmark = pytest.mark.usefixtures("nowhere")


def message(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """The one JSON line on stderr of a command that fails so."""
    ended = cli.run([*words])
    (line,) = capsys.readouterr().err.splitlines()
    told: str = json.loads(line)["message"]
    assert ended == code, told
    return told


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["snapshto"], "snapshot"),
        (["ask", "idle_node"], "idle_nodes"),
        (["ask", "idle"], "idle_cost"),
        (["ask", "idle"], "idle_streaks"),
        (["ask", "preemption"], "preemptions"),
        (["questions", "black_hole"], "black_hole_nodes"),
        (["check", "clock_skw"], "clock_skew"),
        (["schema", "nods"], "nodes"),
        (["ask", "idle_cost", "--columns", "idle_hour"], "idle_hours"),
        (["ask", "idle_cost", "--param", "poool=x"], "pool"),
        (["sql", "from node_latest"], "nodes_latest"),
        (["sql", "from node_stats"], "node_states"),
        (["sql", "select * from task_rnus"], "task_runs"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recorded: str,
    words: list[str],
    near: str,
) -> None:
    """Exit 2, one line."""
    monkeypatch.setenv("NODELAKE_LAKE", recorded)
    told = message(capsys, *words)
    assert "did you mean " in told
    assert near in told.partition("did you mean ")[2].rstrip("?").split(", ")


def test_what_is_near() -> None:
    """Spelled alike, containing, sharing a word; nothing else."""
    known = ["idle_cost", "idle_nodes", "nodes_with_errors", "census"]
    assert nearest("idle-cost", known)[0] == "idle_cost"
    assert nearest("IDLE", known) == ["idle_cost", "idle_nodes"]
    assert nearest("cens", known) == ["census"]
    assert nearest("xyz", known) == []


def test_ask_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """It says where the questions are."""
    assert "nodelake questions lists them" in message(capsys, "ask")


@pytest.mark.parametrize("words", [[], ["--bogus"], ["status", "--bogus"], ["import"], ["usage"]])
def test_usage_errors_are_json_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """As every other line in cron's log; on a terminal the synopsis comes before."""
    assert message(capsys, *words)


def test_usage_errors_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The synopsis, then the error."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert cli.run(["status", "--bogus"]) == 2
    first, last = stderr.getvalue().splitlines()
    assert first.startswith("Usage: nodelake status")
    assert "--bogus" in last


@pytest.mark.parametrize(("name", "code"), [("latest_states", 5), ("unknown_fields", 0)])
def test_fail_if_rows(
    capsys: pytest.CaptureFixture[str], recorded: str, name: str, code: int
) -> None:
    """Exit 5 where there are rows, which are printed all the same."""
    assert cli.run(["ask", name, "--fail-if-rows", "--lake", recorded]) == code
    assert bool(json.loads(capsys.readouterr().out)) == bool(code)
    assert cli.run(["ask", name, "--lake", recorded]) == 0


def saved(lake: Lake, *, complete: bool, idle_since: str = "2026-11-21T11:00:36Z") -> None:
    """One node that was idle for 0.99 hours when it was saved."""
    node = {
        "id": "n1",
        "url": "https://render.westeurope.batch.azure.com/pools/p1/nodes/n1",
        "state": "idle",
        "stateTransitionTime": idle_since,
        "allocationTime": "2026-11-21T10:00:00Z",
    }
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    store([SavedFile("page.json", json.dumps([node]).encode())], lake, at=at, complete=complete)


def test_the_threshold_that_nothing_reached_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest value, and what would answer rows; not to an alarm, whose good answer it is."""
    saved(Lake("lake"), complete=True)
    assert cli.run(["ask", "idle_nodes", "--lake", "lake"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    told = json.loads(err)["message"]
    assert "nothing reached hours = 1 " in told
    assert "the nearest idle_hours is 0.99" in told
    assert "--param hours=0 answers 1 rows" in told
    assert cli.run(["ask", "idle_nodes", "--param", "hours=2", "--lake", "lake"]) == 0
    assert "nothing reached hours = 2 " in capsys.readouterr().err
    assert cli.run(["ask", "idle_nodes", "--fail-if-rows", "--lake", "lake"]) == 0
    assert capsys.readouterr().err == ""


def test_a_range_without_a_snapshot_is_said(
    capsys: pytest.CaptureFixture[str], recorded: str
) -> None:
    """And which range the lake has."""
    asked = ["ask", "coverage", "--from", "2027-01-01", "--to", "2027-01-02", "--lake", recorded]
    assert cli.run(asked) == 0
    told = json.loads(capsys.readouterr().err)["message"]
    assert "no snapshot lies in the range from 2027-01-01 to 2027-01-02" in told
    assert "from 2026-11-21 12:00 to 2026-11-21 12:00 UTC" in told


def test_pools_whose_listings_are_all_partial_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """An import without --complete stores nodes that most questions leave out."""
    saved(Lake("lake"), complete=False)
    assert cli.run(["ask", "latest_states", "--lake", "lake"]) == 0
    assert "no listing of p1 is complete" in capsys.readouterr().err
    with connect("lake") as connection:
        assert [*reasons(connection, "latest_states", {"pool": "p2"})] == [
            f"no pool p2 in {connection.lake}; there are: p1"
        ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_import_without_complete_says_what_it_means(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """And how to make nodes answer; with --complete there is nothing to say."""
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes/n1"
    Path("page.json").write_text(json.dumps([{"id": "n1", "url": url}]))
    if is_terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    texts = []
    for more in ([], ["--complete"]):
        assert cli.run(["import", "page.json", *more]) == 0
        stderr = sys.stderr
        texts.append(stderr.getvalue() if isinstance(stderr, Terminal) else capsys.readouterr().err)
        if isinstance(stderr, Terminal):
            stderr.truncate(0)
    assert "import them again with --complete" in texts[0]
    assert "import them again" not in texts[1]
    assert one(Path("data/lake"), "select count(*) as n from nodes_latest")["n"] == 1


def test_an_archive_is_imported_by_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot for each moment; again: all are there; --at goes not with it."""
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes/n1"
    Path("saved").mkdir()
    for hour in (10, 11):
        page = json.dumps([{"id": "n1", "url": url}])
        Path(f"saved/2026-11-21T{hour}0000Z.json").write_text(page)
    for told in ("2 stored, 0 already there", "0 stored, 2 already there"):
        assert cli.run(["import", "saved", "--at-from", "name", "--complete"]) == 0
        assert told in capsys.readouterr().err
    found = one(Path("data/lake"), "select count(*) as n, max(snapshot_at) as at from snapshots")
    assert (found["n"], found["at"]) == (2, datetime(2026, 11, 21, 11, tzinfo=UTC))
    assert cli.run(["import", "saved", "--at-from", "name", "--at", "2026-11-21"]) == 2
    assert cli.run(["import", "saved", "--at-from", "none.csv"]) == 2


#: Queries that read or write something else, and some that change what others see.
FORBIDDEN = [
    "select * from read_text('{outside}')",
    "from '{outside}'",
    "from read_csv('{outside}')",
    "from glob('{folder}/*')",
    "copy (select 1) to '{lake}/new.csv'",
    "copy (select 1) to '{outside}'",
    "with x as (copy (select 1) to '{lake}/new.csv') from x",
    "with x as materialized (copy (select 1) to '{lake}/new.csv') select * from x",
    "explain analyze copy (select 1) to '{lake}/new.csv'",
    "select 1) as a; copy (select 1) to '{lake}/new.csv'; select * from (select 2",
    "attach '{lake}/new.db' as new",
    "create table t as select 1",
    "set enable_external_access = true",
    "set allowed_directories = ['/']",
    "reset lock_configuration",
    "install httpfs",
    "load httpfs",
    "export database '{lake}/new'",
    "from 'https://example.invalid/x.parquet'",
    "select 1; copy (select 1) to '{lake}/new.csv'",
    "pragma database_list",
    "call pragma_version()",
]


@pytest.mark.parametrize("query", FORBIDDEN)
@pytest.mark.parametrize("way", ["sql", pytest.param("shell", marks=pytest.mark.ci)])
def test_read_only_files(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recorded: str,
    tmp_path: Path,
    way: str,
    query: str,
) -> None:
    """Nothing but the lake's files is read, nothing is written."""
    import io

    outside = tmp_path / "outside.csv"
    outside.write_text("secret\n1\n")
    before = sorted(Path(recorded).rglob("*"))
    text = query.format(outside=outside, lake=recorded, folder=tmp_path)
    words = ["sql", text] if way == "sql" else ["shell"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert cli.run([*words, "--read-only-files", "--lake", recorded]) != 0
    out, _ = capsys.readouterr()
    assert "secret" not in out
    assert outside.read_text() == "secret\n1\n"
    assert sorted(Path(recorded).rglob("*")) == before


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) as n from nodes",
        "from nodes_latest",
        "from nodes_at('2026-11-21 13:00Z')",
        "from node_hours order by all",
        "with x as (select 1 as n) from x order by n -- the end",
    ],
)
def test_read_only_files_answers_the_lake(
    capsys: pytest.CaptureFixture[str], recorded: str, query: str
) -> None:
    """Tables, facts and the fleet."""
    assert cli.run(["sql", query, "--read-only-files", "--lake", recorded]) == 0
    locked = json.loads(capsys.readouterr().out)
    assert cli.run(["sql", query, "--lake", recorded]) == 0
    free = json.loads(capsys.readouterr().out)
    for row in (*locked, *free):
        row.pop("age_seconds", None)
    assert locked == free
    assert locked


def test_the_help_of_sql_says_that_it_reads_and_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever runs a query of somebody else has to know."""
    assert cli.run(["sql", "--help"]) == 0
    assert "read and write any file" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_of_emulate_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is how a person ends it."""
    import time

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    assert cli.run(["emulate"]) == 0


def test_labels_that_are_file_names_of_a_lake(capsys: pytest.CaptureFixture[str]) -> None:
    """Refused where --account is read too."""
    Path("page.json").write_text("[]")
    for label in ("a-late-20260101T050000Z-12345678", "x.staging", "../x"):
        assert label in message(capsys, "import", "page.json", "--account", label)
    assert config.label_problem("render.westeurope") is None
