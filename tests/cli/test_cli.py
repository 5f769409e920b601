"""The command as a user types it: what it prints where, in which form, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import cli, query, schema
from pipeline.cli.sql import VIEWS
from pipeline.emulator import Emulator, Fault, Fleet
from pipeline.lake import Lake
from tests.service import START, make_service, one, rows, small_fleet

COMMANDS = dict(sorted(cli.nodelake.commands.items()))
CONTRACT = (
    "demo snapshot import usage compact expire questions ask sql shell init-sql node status check "
    "report heatmap emulate schema metrics schedule completion prices"
).split()


pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def emulator(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A served account, its settings in the environment."""
    is_over = threading.Event()
    now = datetime.now(UTC).replace(microsecond=0)  # a clock far from this one is warned of
    made = Emulator(Fleet(small_fleet(), seed=3, start=now), sleep=is_over.wait)
    with made.serve() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        yield made
        is_over.set()  # a server that is stopped waits for its answers


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """stdout of a command that ends with that code."""
    ended = cli.run([*arguments])
    out, err = capsys.readouterr()
    assert ended == code, err
    return out


def logged(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[Any]:
    """The JSON lines on stderr of a command that ends with that code and prints nothing."""
    ended = cli.run([*arguments])
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert (ended, out) == (code, ""), err
    return lines


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_of_the_contract_and_shows_an_example(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Its help says what it does, shows an example, and says what each option does."""
    assert name in CONTRACT
    text = printed(capsys, name, "--help")
    assert f"nodelake {name}" in text
    assert "Example" in text
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`nodelake --help` is the way in; `python -m pipeline` is the same."""
    text = printed(capsys, "--help")
    for name in COMMANDS:
        assert f"  {name} " in text
    same = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"], capture_output=True, text=True, check=True
    )
    assert same.stdout.split() == text.split()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "emulate")])
def test_lake_and_format_work_everywhere(name: str) -> None:
    """Every command that opens a lake takes --lake; every one that prints rows takes --format."""
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    if name not in ("questions", "schema"):
        assert "--lake" in options
    if name in ("sql", "questions", "ask", "node", "status", "schema", "check"):
        assert "--format" in options


def test_forms(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """The same rows in every form."""
    asked = (
        "sql",
        "select pool_id, count(*) as n from nodes group by 1 order by 1",
        "--lake",
        lake,
    )
    expected = [("alpha", 12), ("beta", 5), ("gamma", 3)]
    as_json = json.loads(printed(capsys, *asked, "--format", "json"))
    assert [(row["pool_id"], row["n"]) for row in as_json] == expected
    assert json.loads(printed(capsys, *asked)) == as_json  # no terminal: json
    as_csv = [*csv.reader(io.StringIO(printed(capsys, *asked, "--format", "csv")))]
    assert as_csv == [["pool_id", "n"], *([pool, str(n)] for pool, n in expected)]
    table = printed(capsys, *asked, "--format", "table")
    assert [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[2:]] == [
        [pool, str(n)] for pool, n in expected
    ]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_numbers_that_are_none(capsys: pytest.CaptureFixture[str], lake: str, form: str) -> None:
    """NaN, infinity and null are shown, and JSON stays JSON."""
    numbers = "select 'nan'::double as a, 'inf'::double as b, null::double as c, 2.5::double as d"
    text = printed(capsys, "sql", numbers, "--lake", lake, "--format", form)
    assert "2.5" in text
    if form == "json":
        assert json.loads(text) == [{"a": None, "b": None, "c": None, "d": 2.5}]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_binary_forms(lake: str, form: str) -> None:
    """Bytes that other tools read, all columns and types kept."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "sql", "from nodes", "--lake", lake, "--format", form],
        capture_output=True,
        check=True,
    )
    source = pa.BufferReader(done.stdout)
    read = pq.read_table(source) if form == "parquet" else pa.ipc.open_stream(source).read_all()
    assert read.num_rows == 20
    assert read.schema.names[:-1] == schema.NODES.schema.names


def test_no_rows(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """An empty answer is an empty list, a header, or a word."""
    asked = ("sql", "select pool_id from nodes where false", "--lake", lake, "--format")
    assert json.loads(printed(capsys, *asked, "json")) == []
    assert printed(capsys, *asked, "csv") == "pool_id\n"
    assert printed(capsys, *asked, "table") == "no rows\n"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_control_characters_do_not_reach_a_terminal(
    monkeypatch: pytest.MonkeyPatch, lake: str, form: str
) -> None:
    """What the service says is shown escaped: it must not colour, move or title a terminal."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    text = "chr(27) || '[31mred' || chr(7) || chr(155) || 'x'"
    assert cli.run(["sql", f"select {text} as t", "--lake", lake, "--format", form]) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # rich's own
    assert "red" in shown
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown) is None


def test_bytes_are_not_poured_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lake: str
) -> None:
    """--format parquet on a terminal is wrong usage, and says what to do."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert cli.run(["sql", "select 1", "--lake", lake, "--format", "parquet"]) == 2
    assert "redirect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("query_text", "code"), [("selekt 1", 2), ("from nowhere", 2), ("select nodez from nodes", 2)]
)
def test_wrong_sql_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], lake: str, query_text: str, code: int
) -> None:
    """DuckDB's message is shown, exit 2."""
    (line,) = logged(capsys, "sql", query_text, "--lake", lake, code=code)
    assert line["level"] == "error"


@pytest.mark.parametrize("uri", ["s3://bucket/lake", "az://", "abfss://nowhere"])
def test_a_lake_that_cannot_be_is_wrong_configuration(
    capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    """An address of another kind is exit 2, and says which kinds there are."""
    (line,) = logged(capsys, "sql", "select 1", "--lake", uri, code=2)
    assert "az://container/prefix" in line["message"]


def test_nothing_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot without an account says what to set, exit 2."""
    (line,) = logged(capsys, "snapshot", code=2)
    assert "AZURE_BATCH_ENDPOINT" in line["message"]


def test_a_literal_key_in_the_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A key in nodelake.toml: exit 2, key_env is named, the key is not."""
    key = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    Path("nodelake.toml").write_text(
        f'[[accounts]]\nendpoint = "https://a.westeurope.batch.azure.com"\nkey = "{key}"\n'
    )
    (line,) = logged(capsys, "snapshot", code=2)
    assert "key_env" in line["message"]
    assert key not in line["message"]


@pytest.mark.usefixtures("emulator")
def test_a_snapshot_ends_in_one_line_of_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal: one JSON line on stderr, nothing on stdout; the lake is data/lake."""
    (line,) = logged(capsys, "snapshot")
    assert (line["status"], line["nodes_rows"], line["pools_listed"]) == ("complete", 20, 3)
    assert line["account"] == "emulated.local"
    assert one(Path("data/lake"), "select count(*) as n from nodes")["n"] == 20


@pytest.mark.usefixtures("emulator")
def test_a_snapshot_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: progress, then one plain line."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert cli.run(["snapshot"]) == 0
    last = stderr.getvalue().splitlines()[-1]
    assert "emulated.local: complete: 3 pools, 20 nodes" in last


def test_partial_failed_and_locked(capsys: pytest.CaptureFixture[str], emulator: Emulator) -> None:
    """Exit 3, 1 and 4; a locked run leaves no ledger row, a failed one does."""
    emulator.faults.add(Fault(kind="forbidden", route="nodes", pool="beta"))
    assert logged(capsys, "snapshot", code=3)[-1]["pools_failed"] == 1
    emulator.faults.add(Fault(kind="forbidden", route="pools"))
    assert logged(capsys, "snapshot", code=1)[-1]["status"] == "failed"
    with Lake("data/lake").lock("snapshot", "emulated.local"):
        assert "another run" in logged(capsys, "snapshot", code=4)[-1]["message"]
    statuses = [row["status"] for row in rows(Path("data/lake"), "from snapshots order by all")]
    assert sorted(statuses) == ["failed", "partial"]


@pytest.mark.usefixtures("emulator")
def test_a_dry_run_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run reads, says what it read, and writes nothing."""
    (line,) = logged(capsys, "snapshot", "--dry-run")
    assert (line["dry_run"], line["nodes_rows"]) == (True, 20)
    assert [*Path.cwd().iterdir()] == []


def test_a_deadline_ends_a_run(capsys: pytest.CaptureFixture[str], emulator: Emulator) -> None:
    """What is not there in time is a failed listing; what is, is stored."""
    emulator.faults.add(Fault(kind="latency", route="nodes", pool="beta", seconds=20))
    lines = logged(capsys, "snapshot", "--deadline", "1.5", code=3)
    assert lines[-1]["nodes_rows"] == 15
    assert one(Path("data/lake"), "select error_code from pools where pool_id = 'beta'") == {
        "error_code": "DeadlineExceeded"
    }


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        ([0], 0),
        ([0, 0], 0),
        ([4, 4], 4),
        ([1, 1], 1),
        ([1, 4], 1),
        ([0, 1], 3),
        ([0, 4], 3),
        ([3, 0], 3),
        ([3, 1, 4], 3),
    ],
)
def test_the_exit_code_of_several_accounts(codes: list[int], together: int) -> None:
    """0 all complete, 4 all locked, 1 none stored, else 3."""
    from pipeline.cli.runs import combined_exit_code as joined

    assert joined(codes) == together


def test_several_accounts_are_recorded_one_by_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One account that cannot be reached does not keep the other from being recorded."""
    with Emulator(Fleet(small_fleet(), seed=3, start=START)).serve() as server:
        key = server.settings["AZURE_BATCH_ACCESS_KEY"]
        monkeypatch.setenv("FIRST_KEY", key)
        Path("nodelake.toml").write_text(
            f'[[accounts]]\nendpoint = "{server.endpoint}"\nname = "emulated"\nlabel = "one"\n'
            f'key_env = "FIRST_KEY"\n'
            f'[[accounts]]\nendpoint = "http://127.0.0.1:1"\nname = "dead"\nlabel = "two"\n'
            f'key_env = "FIRST_KEY"\n[limits]\nattempts = 1\n'
        )
        lines = logged(capsys, "snapshot", code=3)
        assert {line["account"]: line["status"] for line in lines if "status" in line} == {
            "one": "complete",
            "two": "failed",
        }
        assert logged(capsys, "snapshot", "--account", "one")[-1]["account"] == "one"
    (line,) = logged(capsys, "snapshot", "--account", "three", code=2)
    assert "one, two" in line["message"]


@pytest.mark.usefixtures("emulator")
def test_one_node_live(capsys: pytest.CaptureFixture[str]) -> None:
    """The seed's Get: one node as JSON, redacted; --select names the properties wanted."""
    cli.run(["snapshot"])
    capsys.readouterr()
    node = rows(Path("data/lake"), "select node_id from nodes where pool_id = 'beta'")[0]["node_id"]
    live = json.loads(printed(capsys, "node", "beta", node, "--live"))
    assert live["id"] == node
    assert live["startTask"]["environmentSettings"][0]["value"] == "[redacted]"
    few = json.loads(printed(capsys, "node", "beta", node, "--live", "--select", "id,state"))
    assert sorted(name for name in few if not name.startswith("odata")) == ["id", "state"]
    assert cli.run(["node", "beta", node, "--live", "--format", "csv"]) == 2
    capsys.readouterr()
    (line,) = logged(capsys, "node", "beta", "nobody", "--live", code=1)
    assert "NodeNotFound" in line["message"]


def test_one_node_from_the_lake(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """Its story, which tests/cli/test_node_story.py checks; a node no one has seen is exit 1."""
    node = rows(Path(lake), "select node_id from nodes where pool_id = 'beta'")[0]["node_id"]
    story = json.loads(printed(capsys, "node", "beta", node, "--lake", lake))
    assert {row["node_id"] for row in story} == {node}
    assert [story[0]["what"], story[-1]["what"]] == ["allocated", "last seen"]
    assert "no node" in logged(capsys, "node", "beta", "x", "--lake", lake, code=1)[0]["message"]


def test_every_question_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, none twice."""
    listed = json.loads(printed(capsys, "questions"))
    assert [row["name"] for row in listed] == [*query.questions()]


@pytest.fixture(scope="module")
def both(lake: str) -> Iterator[tuple[query.Connection, query.Connection]]:
    """Connections to that lake and to one that is not there, for every question."""
    with query.connect(lake) as full, query.connect(f"{lake}-none") as empty:
        yield full, empty


@pytest.mark.parametrize("name", query.questions())
def test_every_question_is_asked(
    capsys: pytest.CaptureFixture[str],
    lake: str,
    both: tuple[query.Connection, query.Connection],
    name: str,
) -> None:
    """Its columns are those its header says, on a full lake and on an empty one."""
    told = query.questions()[name]
    full, empty = (connection.ask(name) for connection in both)
    assert tuple(full.column_names) == tuple(empty.column_names) == told.columns
    assert empty.num_rows == 0
    printed(capsys, "ask", name, "--lake", lake)


@pytest.mark.parametrize("name", query.questions())
def test_a_question_is_shown_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`nodelake questions NAME` prints its whole header, wrapped at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(capsys, "questions", name, "--format", "table")
    assert max(len(line) for line in text.splitlines()) <= 80
    told = query.questions()[name]
    parts = [told.question, told.grain, ", ".join(told.columns), told.caveats]
    parts += [f"{p.name} ({p.type}): {p.doc}" for p in told.parameters]
    squeezed = re.sub(r"\s", "", text)
    for part in parts:
        assert re.sub(r"\s", "", part) in squeezed
    assert json.loads(printed(capsys, "questions", name))[0]["caveats"] == told.caveats


def test_questions_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and questions only; one that there is not is exit 2 and names those there are."""
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(capsys, "questions", "--format", "table")
    assert text.split()[:2] == ["name", "question"]
    assert "coverage" in logged(capsys, "questions", "nothing", code=2)[0]["message"]


def test_parameters_of_a_question(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """--param binds one by name; one that there is not is exit 2 and names those there are."""
    ask = ("ask", "latest_states", "--lake", lake, "--param")
    answer = json.loads(printed(capsys, *ask, "pool=beta"))
    assert {row["pool_id"] for row in answer} == {"beta"}
    assert json.loads(printed(capsys, *ask, "pool=' or 1=1 --")) == []
    assert "it has: pool" in logged(capsys, *ask, "pol=beta", code=2)[0]["message"]
    assert cli.run(["ask", "nothing", "--lake", lake]) == 2


def test_status_and_its_threshold(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """A row an account; --max-age trips with exit 5, on an empty lake too."""
    (row,) = json.loads(printed(capsys, "status", "--lake", lake))
    assert (row["account"], row["last_status"], row["nodes"]) == ("emulated.eastus", "complete", 20)
    assert json.loads(printed(capsys, "status", "--lake", lake, "--max-age", "1e9"))
    assert cli.run(["status", "--lake", lake, "--max-age", "1"]) == 5
    assert cli.run(["status", "--lake", "no-lake", "--max-age", "1"]) == 2


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_a_locale_that_is_not_utf8_ends_no_answer(lake: str, form: str) -> None:
    """What it has no letters for is written by number; JSON stays JSON."""
    command = [sys.executable, "-m", "pipeline", "sql", "--lake", lake, "--format", form]
    done = subprocess.run(
        [*command, "select 'caf\u00e9 \u2192' as text"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    if form == "json":
        assert json.loads(done.stdout) == [{"text": "caf\u00e9 \u2192"}]
    else:
        assert r"caf\xe9 \u2192" in done.stdout


def test_a_refused_secret_is_reported_in_whole_words(capsys: pytest.CaptureFixture[str]) -> None:
    """What says where a secret belongs is not itself taken for one by the log."""
    assert cli.run(["status", "--lake", "az://c/x?sig=hunter2"]) == 2
    Path("nodelake.toml").write_text("access_key = 'hunter2'")
    assert cli.run(["status"]) == 2
    err = capsys.readouterr().err
    assert "hunter2" not in err
    assert "[redacted]" not in err


@pytest.mark.parametrize("option", [["snapshot", "--deadline"], ["status", "--max-age"]])
def test_what_is_no_number_is_refused(option: list[str]) -> None:
    """A deadline of nan would never pass."""
    assert cli.run([*option, "nan"]) == 2


def test_init_sql_opens_the_lake_in_any_duckdb(
    capsys: pytest.CaptureFixture[str], lake: str
) -> None:
    """The SQL it prints makes the same views in a DuckDB of its own."""
    text = printed(capsys, "init-sql", "--lake", lake)
    with duckdb.connect() as other:
        other.execute(text)
        assert other.execute("select count(*) from nodes_latest").fetchall() == [(20,)]


def test_the_shell_answers_what_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lake: str
) -> None:
    """A query ends with a semicolon, over several lines too; an error does not end the shell.

    Where it is piped in, exit 1 reports the error in the end.
    """
    typed = ".tables\nselect count(*)\n  as n from nodes;\nselekt;\nselect 7 as seven"
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert cli.run(["shell", "--lake", lake]) == 1
    out, err = capsys.readouterr()
    assert "nodes_latest" in out
    assert re.search(r"^\s*20$", out, re.MULTILINE)
    assert re.search(r"^\s*7$", out, re.MULTILINE)
    assert "selekt" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 11;\nselect 12; select 13"))
    assert cli.run(["shell", "--lake", lake]) == 0
    assert re.findall(r"^1\d$", capsys.readouterr().out, re.MULTILINE) == [
        *("11", "11", "12", "12", "13", "13")  # a column's name is the number too
    ]


def test_every_view_of_the_shell_says_what_it_holds(lake: str) -> None:
    """.tables has words for each."""
    with query.connect(lake) as connection:
        rows = connection.table(VIEWS).to_pylist()
    assert {"nodes", "nodes_latest", "pool_usage", "node_states"} <= {row["view"] for row in rows}
    assert [] == [row["view"] for row in rows if "Grain: " not in (row["holds"] or "")]


def test_the_schema_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A row a column, members of lists too."""
    told = json.loads(printed(capsys, "schema"))
    names = {(row["table"], row["column"]) for row in told}
    for table in schema.TABLES.values():
        assert {(table.name, column.name) for column in table.columns} <= names
    assert ("start_tasks", "environment_settings[].value") in names
    (one_table,) = {row["table"] for row in json.loads(printed(capsys, "schema", "pools"))}
    assert one_table == "pools"
    assert cli.run(["schema", "nothing"]) == 2


def test_import_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 and a line of figures; again: already there; an unreadable file is named."""
    service = make_service()
    with service.client() as client:
        for number, page in enumerate(client.nodes("alpha")):
            Path(f"{number}.json").write_bytes(page.body)
    files = ("0.json", "1.json", "2.json")
    (line,) = logged(capsys, "import", *files)
    assert (line["nodes_rows"], line["account"]) == (12, "emulated.eastus")
    (line,) = logged(capsys, "import", *files)
    assert "already there" in line["message"]
    (line,) = logged(capsys, "import", *files, "--at", "2026-11-20T08:00:00+01:00")
    assert line["snapshot_id"].startswith("20261120T070000Z-")
    Path("bad.json").write_text("{")
    (line,) = logged(capsys, "import", "bad.json", code=1)
    assert "bad.json: not JSON" in line["message"]
    assert cli.run(["import", "missing.json"]) == 2
    for at in ("yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        assert cli.run(["import", "0.json", "--at", at]) == 2
    assert cli.run(["import", "0.json", "--account", "a" * 129]) == 2


def test_a_short_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """It needs no account, prints answers from the Parquet it wrote, and may be run again."""
    for _ in range(2):
        text = printed(capsys, "demo", "--snapshots", "3")
        assert "3 snapshots" in text
        assert "render" in text
        assert "nodelake sql --lake data/demo-lake" in text
    counted = one(Path("data/demo-lake"), "select count(*) as n from snapshots")
    assert counted["n"] == 3


def test_a_demo_spares_what_it_did_not_make(capsys: pytest.CaptureFixture[str]) -> None:
    """A lake that is no demo's is never emptied."""
    Path("mine").mkdir()
    Path("mine/notes.txt").touch()
    assert cli.run(["demo", "--lake", "mine"]) == 2
    assert Path("mine/notes.txt").exists()


def test_emulate_prints_its_settings_and_serves() -> None:
    """The export lines it prints make a snapshot of it work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "emulate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        settings = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        assert sorted(settings) == [
            "AZURE_BATCH_ACCESS_KEY",
            "AZURE_BATCH_ACCOUNT",
            "AZURE_BATCH_ENDPOINT",
        ]
        script = "".join(lines) + f"exec {sys.executable} -m pipeline snapshot --lake lake"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 143
        process.stdout.close()
    assert one(Path("lake"), "select status from snapshots")["status"] == "complete"
