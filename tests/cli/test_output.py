"""Rows on a terminal and in files: digits, formulas, control characters, how many, how wide."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest

from pipeline import cli
from pipeline.cli.output import show
from tests.cli.conftest import Terminal

pytestmark = pytest.mark.usefixtures("nowhere")


def sql(capsys: pytest.CaptureFixture[str], lake: str, query: str, *options: str) -> str:
    """What `nodelake sql` prints."""
    code = cli.run(["sql", query, "--lake", lake, *options])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_digits_that_mean_something(capsys: pytest.CaptureFixture[str], recorded: str) -> None:
    """JSON and CSV; the unit that a column's name ends in says how many; small ones keep theirs."""
    query = (
        "select 0.1::double + 0.2 as x, 1/3 as share, 138.17305064201355::double as p50_seconds, "
        "56.92228855292002::double as minutes, 650.9240718813884::double as idle_hours, "
        "1.23456789e-9::double as tiny, 123456789.123456789::double as large, "
        "0.0000004::double as rate, [1/3] as shares, true as is_ok"
    )
    expected = {
        "x": 0.3,
        "share": 0.333333,
        "p50_seconds": 138.173,
        "minutes": 56.92,
        "idle_hours": 650.9241,
        "tiny": 1.23e-9,
        "large": 123456789.123457,
        "rate": 4e-7,
        "shares": [0.333333],
        "is_ok": True,
    }
    assert [expected] == json.loads(sql(capsys, recorded, query))
    head, cells = csv.reader(io.StringIO(sql(capsys, recorded, query, "--format", "csv")))
    told = dict(zip(head, cells, strict=True))
    assert {name: json.loads(text) for name, text in told.items()} == expected
    assert told["is_ok"] == "true"


def test_parquet_keeps_every_digit(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """It is for programs."""
    import pyarrow.parquet as pq

    show(pa.table({"seconds": [1 / 3]}), "parquet")
    assert (
        pq.read_table(pa.BufferReader(capfdbinary.readouterr().out))["seconds"][0].as_py() == 1 / 3
    )


#: Texts as a service may send them, and whether a spreadsheet would run them.
FORMULAS = {
    "=cmd|' /C calc'!A0": True,
    "+1+cmd|' /C calc'!A0": True,
    "-2+3+cmd|' /C calc'!A0": True,
    "@SUM(1+1)": True,
    "\t=1+1": True,
    "\r=1+1": True,
    "\n=1+1": True,
    "\uff1d1+1": True,
    "=1": False,  # a number behind a sign
    "-1.5": False,
    "+1e9": False,
    "-": True,
    "plain = text": False,
    "": False,
}


def test_a_csv_runs_no_formula(capsys: pytest.CaptureFixture[str], recorded: str) -> None:
    """An apostrophe precedes it, in headings too; numbers stay numbers; --raw-csv: as it is."""
    listed = ", ".join("'" + text.replace("'", "''") + "'" for text in FORMULAS)
    query = f"select unnest([{listed}]) as \"=text\", -1.5 as number, ['=1+1'] as nested"
    head, *lines = csv.reader(
        io.StringIO(sql(capsys, recorded, query, "--format", "csv"), newline="")
    )
    assert head == ["'=text", "number", "nested"]
    assert [text for text, _, _ in lines] == [
        f"'{text}" if runs else text for text, runs in FORMULAS.items()
    ]
    assert {(number, nested) for _, number, nested in lines} == {("-1.5", '["=1+1"]')}
    out = sql(capsys, recorded, query, "--format", "csv", "--raw-csv")
    head, *lines = csv.reader(io.StringIO(out, newline=""))
    assert [head[0], *(text for text, _, _ in lines)] == ["=text", *FORMULAS]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("width", ["200", "20"])
def test_an_alias_does_not_control_a_terminal(
    monkeypatch: pytest.MonkeyPatch, recorded: str, form: str, width: str
) -> None:
    """A column's name is escaped like a value."""
    monkeypatch.setenv("COLUMNS", width)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    query = 'select 1 as "a\x1b]0;title\x07\x9bb_id", 2 as "\x1b[2J" union all select 1, 3'
    assert cli.run(["sql", query, "--lake", recorded, "--format", form]) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # rich's own
    assert "title" in shown
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown) is None


@pytest.mark.parametrize(
    "words",
    [
        ["\x1b]0;x\x07"],
        ["--\x1b]0;x\x07"],
        ["ask", "\x1b]0;x\x07"],
        ["ask", "idle_cost", "--columns", "\x1b]0;x\x07"],
        ["sql", "selekt '\x1b]0;x\x07'"],
        ["report", "-o", "\x1b]0;x\x07/y"],
        ["status", "--lake", "\x1b]0;x\x07"],
    ],
)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_errors_do_not_control_a_terminal(
    monkeypatch: pytest.MonkeyPatch, recorded: str, words: list[str], is_terminal: bool
) -> None:
    """click's messages and DuckDB's; without a terminal each is a JSON line."""
    monkeypatch.setenv("NODELAKE_LAKE", recorded)
    stderr = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert cli.run(words) == 2
    assert "x" in stderr.getvalue()
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", stderr.getvalue()) is None
    if not is_terminal:
        assert [json.loads(line)["level"] for line in stderr.getvalue().splitlines()] == ["error"]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_terminal_gets_1000_rows(
    monkeypatch: pytest.MonkeyPatch, recorded: str, form: str
) -> None:
    """And how many there are; order, comments and semicolons of the query change nothing."""
    terminal, stderr = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    query = "select -range as n from range(5000) order by n desc; -- all"
    assert cli.run(["sql", query, "--lake", recorded, "--format", form]) == 0
    numbers = re.findall(r"-?\b\d+\b", terminal.getvalue())
    assert (numbers[0].lstrip("-"), numbers[-1], len(numbers)) == ("0", "-999", 1000)
    assert "the first 1,000 of 5,000 rows" in stderr.getvalue()


@pytest.mark.parametrize(
    "query", ["describe nodes", "show tables", "summarize pools", "explain select 1"]
)
def test_what_may_not_stand_in_brackets_is_answered(
    monkeypatch: pytest.MonkeyPatch, recorded: str, query: str
) -> None:
    """On a terminal too."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli.run(["sql", query, "--lake", recorded]) == 0
    assert terminal.getvalue().count("\n") > 2


def test_a_file_gets_all_rows(capsys: pytest.CaptureFixture[str], recorded: str) -> None:
    """Nothing is cut where no one looks."""
    assert sql(capsys, recorded, "from range(5000)", "--format", "csv").count("\n") == 5001


IDS = [f"tvmps_{number:064x}_d" for number in (7 << 248, 9 << 248)]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            100,
            [
                "pool     node_id                                                               "
                "     shortest_hours",
                f"render   {IDS[0]}             1.50",
                f"render   {IDS[1]}             2.50",
            ],
        ),
        (
            60,
            [
                "in every row: pool render",
                "node_id               shortest_hours",
                "tvmps_0700000000…_d             1.50",
                "tvmps_0900000000…_d             2.50",
            ],
        ),
        (
            31,
            [
                "in every row: pool render",
                "                      shortest_",
                "node_id                   hours",
                "tvmps_0700000000…_d        1.50",
                "tvmps_0900000000…_d        2.50",
            ],
        ),
        (30, ["- 1 -", "          pool  render"]),
    ],
)
def test_ids_are_shortened_and_headings_wrapped_before_records(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    lines: list[str],
) -> None:
    """Each only where the terminal is too narrow without it."""
    monkeypatch.setenv("COLUMNS", str(width))
    made = {"pool": ["render"] * 2, "node_id": IDS, "shortest_hours": [1.5, 2.5]}
    show(pa.table(made), "table")
    out = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = [line for line in out if set(line) != {"─"}]
    assert lines == shown[: len(lines)]


def test_shortened_ids_stay_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that begin and end alike show more."""
    monkeypatch.setenv("COLUMNS", "60")
    ids = [f"tvmps_{'0' * 20}{middle}{'0' * 40}_d" for middle in "12"]
    show(pa.table({"node_id": ids, "n": [1, 2]}), "table")
    shown = re.findall(r"tvmps_\S+", capsys.readouterr().out)
    assert len({*shown}) == 2
    assert all("…" in each for each in shown)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_files_are_for_their_owner(recorded: str, umask: int) -> None:
    """The report, one that replaces another's, and what a lake is made of, whatever the umask."""
    Path("old.html").touch(mode=0o644)
    before = os.umask(umask)
    try:
        with patch(
            "pipeline.report.render", return_value="a page"
        ):  # who may read it is asked here
            for name in ("new.html", "old.html"):
                assert cli.run(["report", "-o", name, "--lake", recorded]) == 0
            assert cli.run(["demo", "--snapshots", "1", "--lake", "demo"]) == 0
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    made = [Path("new.html"), Path("old.html"), *Path("demo").rglob("*")]
    assert {each.stat().st_mode & 0o777 for each in made if each.is_file()} == {0o600}
    assert {each.stat().st_mode & 0o777 for each in made if each.is_dir()} == {0o700}


def test_a_file_that_is_named_follows_the_umask(recorded: str) -> None:
    """A collector of another user reads the metrics."""
    before = os.umask(0o022)
    try:
        assert cli.run(["metrics", "-o", "nodelake.prom", "--lake", recorded]) == 0
    finally:
        os.umask(before)
    assert Path("nodelake.prom").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("place", ["/proc/x.html", "/sys/x.html"])
def test_a_report_on_a_read_only_place(
    capsys: pytest.CaptureFixture[str], recorded: str, place: str
) -> None:
    """The file and the reason, no traceback, before anything is asked."""
    with patch("pipeline.report.gather", side_effect=AssertionError):
        assert cli.run(["report", "-o", place, "--lake", recorded]) == 1
    err = capsys.readouterr().err
    assert f"{place}: cannot be written" in err
    assert "Traceback" not in err
