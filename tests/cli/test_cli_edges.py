"""The command where something is odd: values that do not fit, full disks, names met twice, a home."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import cli, query, spark
from pipeline.cli.console import say, set_up_logging
from pipeline.cli.output import show
from pipeline.lake import Lake
from tests.service import make_service, one, rows

FULL = Path("/dev/full")


pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["coverage", "--from", "garbage"],
            r"--from.*'garbage' is not a valid time, such as 2026-11-21",
        ),
        (["coverage", "--to", "2026-13-01"], r"--to.*is not a valid time"),
        (["coverage", "--param", "from=?"], r"--from.*is not a valid time"),
        (
            ["idle_nodes", "--param", "hours=two"],
            r"--param hours.*'two' is not a valid number, such as 1.5",
        ),
        (
            ["flapping_nodes", "--param", "entries=x"],
            r"--param entries.*'x' is not a valid whole number, such as 30",
        ),
        (
            ["flapping_nodes", "--param", "entries=1.5"],
            r"--param entries.*'1.5' is not a valid whole number",
        ),
        (
            ["idle_streaks", "--param", "rows=1.5"],
            r"--param rows.*'1.5' is not a valid whole number",
        ),
        (
            ["slot_utilisation", "--param", "step=bogus"],
            "step of slot_utilisation is hour, day, week or month, not 'bogus'",
        ),
        (
            ["error_codes", "--param", "source=bogus"],
            "source of error_codes is only node, start_task or task, not 'bogus'",
        ),
        (
            ["stuck_nodes", "--param", "state=bogus"],
            "state of stuck_nodes is only creating, starting, .*upgradingos, not 'bogus'",
        ),
        (["stuck_nodes", "--param", "state=idle"], "only creating.*, not 'idle'"),
        (["coverage", "--from", "2026-11-22", "--to", "2026-11-21"], "--to must be after --from"),
    ],
)
def test_a_value_that_does_not_fit_its_parameter(
    capsys: pytest.CaptureFixture[str], lake: str, arguments: list[str], told: str
) -> None:
    """Exit 2; the parameter is named, its type, and what a value looks like."""
    assert cli.run(["ask", *arguments, "--lake", lake]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_a_heatmap_that_ends_before_it_begins(
    capsys: pytest.CaptureFixture[str], lake: str
) -> None:
    """Exit 2, as the report of such a range; a pool that was never listed is named, exit 1."""
    ends = ["--from", "2026-11-22", "--to", "2026-11-21"]
    assert cli.run(["heatmap", *ends, "--lake", lake]) == 2
    assert "--to must be after --from" in capsys.readouterr().err
    assert cli.run(["heatmap", "--pool", "nobody", "--lake", lake]) == 1
    assert f"no pool nobody was listed yet in {lake}; there are: " in capsys.readouterr().err


def test_a_rate_below_a_tenth_is_reported_with_four_places(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A rate of 0.004 does not read 0.00."""
    show(pa.table({"rate": [0.004, None, 0.05], "share": [0.004, 0.5, 1.0]}), "table")
    assert [["0.0040", "0.00"], ["0.50"], ["0.0500", "1.00"]] == [
        line.split() for line in capsys.readouterr().out.splitlines()[2:]
    ]


#: Intervals of each sign and size; DuckDB's own text of them is what is expected.
INTERVALS = (
    "1 year 2 months 3 days 04:05:06.789",
    "-00:10:00",
    "00:00:00",
    "26:00:00",
    "-1 day",
    "1 month -2 days",
    "1 day -00:00:01",
    "-1 year -2 months",
    "00:00:00.000001",
)


def test_an_interval_reads_as_duckdb_prints_it(
    capsys: pytest.CaptureFixture[str], lake: str
) -> None:
    """What lies between two times is a text in every form."""
    listed = ", ".join(f"interval '{text}'" for text in INTERVALS)
    query = f"select unnest([{listed}]) as gap, '>' || gap as said"
    expected = [{"gap": text, "said": f">{text}"} for text in INTERVALS]
    assert cli.run(["sql", query, "--lake", lake]) == 0
    assert expected == json.loads(capsys.readouterr().out)
    assert cli.run(["sql", query, "--format", "csv", "--lake", lake]) == 0
    assert ["gap,said", *(f"{text},>{text}" for text in INTERVALS)] == lines(capsys)
    assert cli.run(["sql", query, "--format", "table", "--lake", lake]) == 0
    assert [[text, f">{text}"] for text in INTERVALS] == [
        re.split(r"  +", line.strip()) for line in lines(capsys)[2:]
    ]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed since the last look."""
    return capsys.readouterr().out.splitlines()


def test_parquet_has_an_interval_as_text(lake: str) -> None:
    """It has no type of its own for one; inside a list it is exit 2 and what to do, no traceback."""

    def asked(query: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "pipeline", "sql", query, "--lake", lake]
        return subprocess.run([*command, "--format", "parquet"], capture_output=True, check=False)

    stored = pq.read_table(
        pa.BufferReader(asked("select 1 as n, interval '26 hours' as gap").stdout)
    )
    assert [{"n": 1, "gap": "26:00:00"}] == stored.to_pylist()
    refused = asked("select [interval '1 day'] as gaps")
    assert (2, b"") == (refused.returncode, refused.stdout)
    assert b"cast that column, or take --format arrow" in refused.stderr


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            60,
            [
                "pool     state   told                                 spot",
                "──────────────────────────────────────────────────────────",
                "render   idle    hour 0 of 24 hours, listed by pool   true",
                "render   idle    hour 1 of 24 hours, listed by pool   true",
            ],
        ),
        (
            45,
            [
                "in every row: pool render, state idle, spot true",
                "told",
                "──────────────────────────────────",
                "hour 0 of 24 hours, listed by pool",
                "hour 1 of 24 hours, listed by pool",
            ],
        ),
        (
            20,
            [
                "- 1 -",
                " pool  render",
                "state  idle",
                " told  hour 0 of 24 hours, listed by pool",
                " spot  true",
                "- 2 -",
                " pool  render",
                "state  idle",
                " told  hour 1 of 24 hours, listed by pool",
                " spot  true",
            ],
        ),
    ],
)
def test_a_table_that_is_wider_than_the_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    lines: list[str],
) -> None:
    """What is the same in every row is shown once; where that is not enough, a row is a record."""
    monkeypatch.setenv("COLUMNS", str(width))
    told = "hour {} of 24 hours, listed by pool"
    columns = {"pool": "render", "state": "idle", "told": told, "spot": True}
    made = [columns | {"told": told.format(hour)} for hour in range(2)]
    show(pa.Table.from_pylist(made), "table")
    assert lines == [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_map_is_an_object(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """Of JSON, its keys as texts."""
    query = "select map {'idle': 2} as states, [map {3: date '2026-11-21'}] as days"
    assert cli.run(["sql", query, "--lake", lake]) == 0
    expected = {"states": {"idle": 2}, "days": [{"3": "2026-11-21"}]}
    assert [expected] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("query", ["select 1; select 2", "from nodes;\nset threads = 2", "", " ;"])
def test_more_answers_than_are_printed(
    capsys: pytest.CaptureFixture[str], lake: str, query: str
) -> None:
    """Rows of all but the last statement would be dropped without a word; so would none at all."""
    assert cli.run(["sql", query, "--lake", lake]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    told = "there is no query in it" if not query.strip(" ;") else "2 statements, and one answer"
    assert told in err


def test_statements_before_a_query(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """What answers nothing may stand before it."""
    query = "create temp table seven as select 7 as n; set threads = 1; from seven;"
    assert cli.run(["sql", query, "--lake", lake]) == 0
    assert [{"n": 7}] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("span", "told"),
    [
        (["--to", "2026-11-21T23:59:59"], "those before 2026-11-21"),
        (
            ["--from", "2026-11-21T06:00+02:00", "--to", "2026-11-21T09:00+02:00"],
            "those from 2026-11-21 and before 2026-11-21",
        ),
        (["--from", "2026-11-21T00:00+01:00"], "those from 2026-11-20"),
        (["--from", "2026-11-21", "--to", "2026-11-22T02:00+02:00"], None),
        ([], None),
    ],
)
def test_a_range_within_a_day_of_what_counts_whole_days(
    capsys: pytest.CaptureFixture[str], lake: str, span: list[str], told: str | None
) -> None:
    """Which days are answered is said: a last day may be missing, or more hours than were asked."""
    assert cli.run(["ask", "idle_cost", *span, "--lake", lake]) == 0
    err = capsys.readouterr().err
    assert err == "" if told is None else f'idle_cost counts whole days (UTC): {told}"' in err


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (datetime(2026, 11, 21, 9, tzinfo=UTC), "those before 2026-11-21"),
        (datetime(2026, 11, 21, 0, tzinfo=timezone(timedelta(hours=1))), "those before 2026-11-20"),
        ("2026-11-21T09:00Z", "those before 2026-11-21"),
        (datetime(2026, 11, 21, tzinfo=UTC), None),
        (date(2026, 11, 21), None),
        ("infinity", None),
    ],
)
def test_python_is_warned_of_parts_of_days(
    caplog: pytest.LogCaptureFixture, lake: str, end: object, told: str | None
) -> None:
    """As the command's user is: a notebook adds hours up too. Spark's values are warned of as well."""
    logger = logging.getLogger("nodelake")
    for handler in [each for each in logger.handlers if type(each) is logging.StreamHandler]:
        logger.removeHandler(handler)  # a command's, whose stderr has gone
    expected = [] if told is None else [f"idle_cost counts whole days (UTC): {told}"]
    with query.connect(lake) as connection:
        connection.ask("idle_cost", to=end)
    assert expected == caplog.messages
    asked = query.question("idle_cost")
    spark.typed(asked, asked.bind({"to": end}))
    assert [*expected, *expected] == caplog.messages


def test_which_questions_count_whole_days() -> None:
    """Those that take the hours of days say so of their range, in the words that are looked for."""
    told = {
        each.name
        for each in query.questions().values()
        for parameter in each.parameters
        if parameter.name in ("from", "to") and parameter.doc.startswith("only days")
    }
    assert {"idle_cost", "broken_cost", "job_cost", "node_hours", "usage_reconciliation"} == told


def test_no_rows_of_a_pool_that_there_is_not(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """A name mistyped would read as no trouble: it is said, with those that are much like it."""
    assert cli.run(["ask", "nodes_with_errors", "--param", "pool=Bta", "--lake", lake]) == 0
    out, err = capsys.readouterr()
    assert [] == json.loads(out)
    assert f"no pool Bta in {lake}; there are: beta, " in err
    assert cli.run(["ask", "nodes_with_errors", "--param", "pool=beta", "--lake", lake]) == 0
    assert capsys.readouterr().err == ""


def test_a_range_without_a_listing(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """The message about a picture says what the lake has, that cannot be drawn."""
    for command in (["heatmap"], ["report", "-o", "x.html"]):
        assert cli.run([*command, "--to", "2020-01-01", "--lake", lake]) == 1
        told = capsys.readouterr().err
        assert f"no pool was listed then in {lake}; it has snapshots from 2026-11-21 " in told


def test_complete_files_that_are_not_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A last page with a next link proves nothing, whatever --complete says: that is said."""
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes"
    page = {"value": [{"id": "n1", "url": f"{url}/n1"}]}
    told = {}
    for name, more in (("whole", {}), ("cut", {"odata.nextLink": f"{url}?$skiptoken=x"})):
        Path(f"{name}.json").write_text(json.dumps(page | more))
        assert cli.run(["import", f"{name}.json", "--complete"]) == 0
        told[name] = "--complete holds for 0 of 1 pools" in capsys.readouterr().err
    assert {"whole": False, "cut": True} == told


def test_what_is_malformed_is_reported_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By pool, node and field, a line each: the log of cron is all that there is."""
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes/"
    bad = [{"id": f"n{i}", "url": f"{url}n{i}", "isDedicated": "yes"} for i in range(7)]
    Path("page.json").write_text(json.dumps({"value": bad}))
    assert cli.run(["import", "page.json"]) == 3
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    problem = "isDedicated: expected a boolean, got a string"
    assert [f"pool p1, node n{i}: {problem}" for i in range(5)] == [
        line["message"] for line in logged[1:6]
    ]
    assert {"render.westeurope"} == {line["account"] for line in logged[:6]}
    assert "problems of snapshots" in logged[6]["message"]


def test_a_fault_without_a_pool_or_a_field_is_named_in_english(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pool without an id is a pool, and what is wrong with a whole node names no field."""
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes/"
    Path("pools.json").write_text('{"value":[{"id":7,"vmSize":"a","currentDedicatedNodes":0}]}')
    node = f'{{"id":"n1","url":"{url}n1","state":"idle","state":"running"}}'
    Path("nodes.json").write_text(f'{{"value":[{node}]}}')
    assert cli.run(["import", "pools.json", "nodes.json", "--account", "render.westeurope"]) == 3
    said = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert {"a pool: id: no valid id", "pool p1, node n1: a member named twice"} <= {*said}


def test_a_value_that_fits(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """A day is a moment; a number is one."""
    assert cli.run(["ask", "coverage", "--from", "2026-11-21", "--lake", lake]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["snapshots"] == 1
    assert cli.run(["ask", "idle_nodes", "--param", "hours=0.5", "--lake", lake]) == 0


def test_only_some_columns_of_an_answer(capsys: pytest.CaptureFixture[str], lake: str) -> None:
    """In the order they are named; one that there is not is exit 2 and names those there are."""
    asked = ["ask", "latest_states", "--lake", lake, "--columns"]
    assert cli.run([*asked, "nodes, pool_id"]) == 0
    assert {(*row,) for row in json.loads(capsys.readouterr().out)} == {("nodes", "pool_id")}
    assert cli.run([*asked, "nodes,pol"]) == 2
    assert "no column 'pol'; it has: account" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("query_text", "expected"),
    [
        ("select 1 as a, 2 as a", {"a": 1, "a_1": 2}),
        ("select 1 as a, 2 as a, 3 as a_1", {"a": 1, "a_2": 2, "a_1": 3}),
        ("select 1 as a, 2 as a, 3 as a", {"a": 1, "a_1": 2, "a_2": 3}),
    ],
)
def test_columns_of_one_name_are_all_there(
    capsys: pytest.CaptureFixture[str], lake: str, query_text: str, expected: dict[str, int]
) -> None:
    """A JSON object has a name once: the second column gets one of its own, in every form."""
    assert cli.run(["sql", query_text, "--lake", lake]) == 0
    assert json.loads(capsys.readouterr().out) == [expected]
    assert cli.run(["sql", query_text, "--lake", lake, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == ",".join(expected)


def test_an_import_of_the_future_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether --at says so or a file's time; 15 minutes of clocks that differ are allowed."""
    service = make_service()
    with service.client() as client:
        Path("page.json").write_bytes(next(iter(client.nodes("beta"))).body)
    soon = datetime.now(UTC) + timedelta(minutes=14)
    later = datetime.now(UTC) + timedelta(minutes=16)
    for at in ("2099-01-01", later.isoformat()):
        assert cli.run(["import", "page.json", "--at", at]) == 2
        assert "lies in the future" in capsys.readouterr().err
    os.utime("page.json", (later.timestamp(), later.timestamp()))
    assert cli.run(["import", "page.json"]) == 2
    assert "--at" in capsys.readouterr().err
    assert not Path("data").exists()
    assert cli.run(["import", "page.json", "--at", soon.isoformat()]) == 0


@pytest.fixture
def shared_lake(lake: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That lake for every command."""
    monkeypatch.setenv("NODELAKE_LAKE", lake)


def piped(*arguments: str, to: str) -> subprocess.CompletedProcess[str]:
    """A command whose stdout goes where the shell says; the exit code is the command's own."""
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "pipeline", *arguments))
    script = f"{words} {to}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full: Linux has it")
@pytest.mark.usefixtures("shared_lake")
@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "from range(3)"],
        ["sql", "from range(100000)", "--format", "csv"],
        ["sql", "from range(3)", "--format", "arrow"],
        ["questions", "--format", "table"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_a_full_disk_behind_stdout(arguments: list[str]) -> None:
    """Exit 1 and one line that says so, whenever it is met."""
    done = piped(*arguments, to="> /dev/full")
    assert done.returncode == 1
    assert done.stderr.count("No space left on device") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("count", ["3", "100000"])
def test_a_reader_that_has_gone(lake: str, count: str) -> None:
    """What it wanted, it has: exit 0, not a word."""
    done = piped("sql", f"from range({count})", "--format", "csv", "--lake", lake, to="| true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("shared_lake")
def test_stdout_that_is_closed() -> None:
    """Rows that no one could see are no success."""
    done = piped("sql", "select 1", to=">&-")
    assert done.returncode == 1
    assert "standard output is closed" in done.stderr


@pytest.mark.parametrize("way", ["flag", "environment", "file", "python"])
def test_a_lake_in_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, way: str
) -> None:
    """A shell expands ~ in few places; here it is expanded in all."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    make_service().run(Lake(tmp_path / "home" / "lake"))
    asked = ["sql", "select count(*) as n from nodes"]
    if way == "python":
        assert one(Path("~/lake"), asked[1])["n"] == 20
        return
    if way == "flag":
        asked.append("--lake=~/lake")
    elif way == "environment":
        monkeypatch.setenv("NODELAKE_LAKE", "~/lake")
    else:
        Path("nodelake.toml").write_text('lake = "~/lake"\n')
    assert cli.run(asked) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 20}]
    assert not Path("~").exists()


def test_a_home_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """~nobody/lake names a user there is not: exit 2."""
    assert cli.run(["status", "--lake", "~no-such-user/lake"]) == 2
    assert "no such home" in capsys.readouterr().err


def test_the_shell_lists_the_views_that_are_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lake: str
) -> None:
    """Tables, facts and the fleet now; not what facts are merged from."""
    import io

    from pipeline import schema
    from pipeline.schema import facts

    monkeypatch.setattr(sys, "stdin", io.StringIO(".tables"))
    assert cli.run(["shell", "--lake", lake]) == 0
    out = capsys.readouterr().out
    listed = {match[1] for line in out.splitlines()[2:] if (match := re.match(r"(\w+)  ", line))}
    own = {"nodes_latest", "pool_usage_snapshots"}
    assert listed == {*schema.TABLES, *facts.FACTS, *own}


def test_pools_known_by_id_alone() -> None:
    """A pool that was asked for and is not there, and one that a file's nodes name: the same keys."""
    service = make_service()
    into = Lake("lake")
    service.run(into, pools=["nothing"])
    (row,) = rows(into, "select pool_id, listing, nodes_listed, account from pools")
    assert row == {
        "pool_id": "nothing",
        "listing": "failed",
        "nodes_listed": 0,
        "account": "emulated.eastus",
    }


@pytest.mark.parametrize("said", ["interrupted", "terminated"])
def test_a_signal_during_an_import_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    """It may have stopped the import of numpy halfway, and then nothing can redact."""
    monkeypatch.setitem(sys.modules, "pipeline.redact", None)
    set_up_logging(verbose=False)
    say(said)
    assert json.loads(capsys.readouterr().err)["message"] == said
