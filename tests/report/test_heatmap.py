"""The picture of nodes x time: what a letter means, what a gap is, and how it fits a terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import cli, schema
from pipeline.lake import Lake
from pipeline.report.heatmap import GAP, STATES, Bins, Cell, Poll, choose_bins, draw, label_width
from tests.lakes import FAILED, MONDAY, at, node, partial, put

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def polls(*minutes: float, pool: str = "p", is_complete: bool = True) -> list[Poll]:
    """Listings of a pool, so many minutes after midnight."""
    return [Poll("acc", pool, MONDAY + timedelta(minutes=m), is_complete) for m in minutes]


def cell(name: str, minute: float, state: str | None, place: int, pool: str = "p") -> Cell:
    """A state a node was listed in at that minute, in that bin."""
    return Cell("acc", pool, name, place, state, MONDAY + timedelta(minutes=minute))


def five_minutes(count: int) -> Bins:
    """Bins of five minutes from midnight on."""
    return Bins(MONDAY, timedelta(minutes=5), count)


def row_of(lines: list[str], name: str, wide: int = 4) -> str:
    """The letters of a node, one a bin."""
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return line[label_width(80) + 1 :][::wide]


def test_every_state_has_a_letter_of_its_own() -> None:
    """The schema's states and no others; trouble in capitals, so it shows without colour."""
    assert set(schema.NODE_STATES) == set(STATES)
    letters = [letter for letter, _ in STATES.values()]
    assert len(letters) == len(set(letters))
    trouble = {"unusable", "starttaskfailed", "unknown", "offline", "preempted"}
    assert trouble == {state for state, (letter, _) in STATES.items() if letter.isupper()}


@pytest.mark.parametrize(
    ("hours", "columns", "minutes", "count"),
    [(24, 80, 30, 48), (24, 140, 15, 96), (24, 320, 5, 288), (1, 80, 5, 12), (168, 80, 180, 56)],
)
def test_bins_are_round_fit_the_columns_and_are_no_narrower_than_polls(
    hours: int, columns: int, minutes: int, count: int
) -> None:
    """A day, an hour, a week of listings five minutes apart."""
    listed = polls(*range(0, 60 * hours, 5))
    bins = choose_bins(listed, MONDAY, MONDAY + timedelta(hours=hours), columns)
    assert Bins(MONDAY, timedelta(minutes=minutes), count) == bins


def test_bins_of_a_range_that_begins_anywhere() -> None:
    """The first begins at a round time before it, the last ends at or after its end."""
    bins = choose_bins(polls(7, 12), at("00:07"), at("03:01"), 80)
    assert (at("00:05"), timedelta(minutes=5)) == (bins.start, bins.step)
    assert at("03:01") <= bins.start + bins.count * bins.step < at("03:06")


@pytest.mark.parametrize("years", [1, 20, 400])
def test_years_fit_too(years: int) -> None:
    """However long the range, no line is wider than the terminal."""
    listed = polls(0, 5)
    bins = choose_bins(listed, MONDAY, MONDAY + timedelta(days=365 * years), 80)
    lines = draw(listed, [cell("a", 0, "idle", 0)], bins, columns=80)
    assert max(map(len, lines)) <= 80


def test_a_letter_is_the_most_troubling_state_of_its_bin() -> None:
    """An unusable node among idle ones shows, however short it was; unknown words are distinguished."""
    cells = [cell("a", 0, "idle", 0), cell("a", 1, "unusable", 0), cell("a", 2, "running", 0)]
    cells += [cell("a", 5, "idle", 1), cell("a", 6, "running", 1), cell("a", 10, "dozing", 2)]
    cells += [cell("a", 15, None, 3)]
    lines = draw(polls(0, 1, 2, 5, 6, 10, 15), cells, five_minutes(4))
    assert "Ui??" == row_of(lines, "a")


def test_a_gap_is_no_absence() -> None:
    """A dash where no one looked, a blank where complete listings did not have the node."""
    listed = [*polls(0, 5, 10), *polls(40, 45)]
    cells = [cell("a", 0, "idle", 0), cell("a", 5, "idle", 1), cell("a", 45, "running", 9)]
    lines = draw(listed, cells, five_minutes(10))
    assert f"ii {GAP * 5} r" == row_of(lines, "a")
    assert "- no listing" in "\n".join(lines)
    assert "(blank) not in the pool" in "\n".join(lines)


def test_a_listing_that_broke_off_proves_no_absence() -> None:
    """A node that it lacks may have been there: that is a gap."""
    listed = sorted([*polls(0, 10), *polls(5, is_complete=False)], key=lambda poll: poll.listed_at)
    cells = [cell("a", 0, "idle", 0), cell("a", 10, "idle", 2), cell("b", 5, "idle", 1)]
    lines = draw(listed, cells, five_minutes(3))
    assert "i-i" == row_of(lines, "a")
    assert " i" == row_of(lines, "b")


def test_between_listings_near_each_other_a_state_lasts() -> None:
    """A bin that has no listing of its own is no gap where polls are late by a minute."""
    cells = [cell("a", 4, "running", 0), cell("a", 11, "idle", 2)]
    assert "rri" == row_of(draw(polls(4, 11), cells, five_minutes(3)), "a")


def test_a_pool_is_a_group_and_its_nodes_are_sorted() -> None:
    """Accounts are named where there are several."""
    listed = [*polls(0, pool="p"), *polls(0, pool="q")]
    cells = [cell(name, 0, "idle", 0) for name in ("a", "b")] + [cell("c", 0, "idle", 0, "q")]
    lines = draw(listed, cells, five_minutes(1))
    assert ["p (2 nodes)", "a", "b", "q (1 node)", "c"] == [
        line[:14].strip() if "nod" not in line else line for line in lines[2:7]
    ]
    two = [Poll("other", "p", MONDAY, True)]
    assert "acc / p (2 nodes)" in draw([*listed[:1], *two], cells[:2], five_minutes(1))


@pytest.mark.parametrize("lines", [12, 20, 40])
def test_of_too_many_nodes_the_most_eventful_are_drawn(lines: int) -> None:
    """Within the lines there are; the others are counted, with how they ended."""
    cells = [cell(f"n{n:03}", 0, "unusable" if n == 77 else "idle", 0) for n in range(100)]
    drawn = draw(polls(0), cells, five_minutes(1), lines=lines)
    assert lines >= len(drawn)
    assert drawn[3].startswith("n077 ")
    (told,) = [line for line in drawn if line.startswith("…")]
    shown = sum(line.startswith("n") for line in drawn)
    assert f"… {100 - shown} less eventful left out; last letters {100 - shown} i" == told


def test_small_pools_are_drawn_whole_beside_a_large_one() -> None:
    """What a small pool does not need the large one gets."""
    listed = [*polls(0, pool="large"), *polls(0, pool="small")]
    cells = [cell(f"n{n:03}", 0, "idle", 0, "large") for n in range(100)]
    cells += [cell(f"s{n}", 0, "idle", 0, "small") for n in range(3)]
    drawn = draw(listed, cells, five_minutes(1), lines=30)
    assert 3 == sum(line.startswith("s") and "small" not in line for line in drawn)
    assert 28 <= len(drawn) <= 30


def test_long_names_are_cut_where_they_still_differ() -> None:
    """At the end; in the middle where their beginnings are the same."""
    heads = [f"tvmps_{n}{'f' * 60}_d" for n in (1, 2)]
    tails = [f"tvm-{'0' * 40}-{n}" for n in (1, 2)]
    for names, expected in ((heads, "tvmps_1ffffff…"), (tails, "tvm-…00000000-1")):
        lines = draw(polls(0), [cell(name, 0, "idle", 0) for name in names], five_minutes(1))
        assert expected[:4] in lines[3]
        assert label_width(80) >= len(lines[3].split()[0])
        assert lines[3].split()[0] != lines[4].split()[0]


def test_colour_adds_nothing_but_colour() -> None:
    """Without the escapes the picture is the plain one; every run of letters is closed."""
    cells = [cell("a", 5 * n, state, n) for n, state in enumerate(STATES)]
    listed = polls(*(5 * n for n in range(len(STATES))))
    bins = five_minutes(len(STATES) + 2)
    plain = draw(listed, cells, bins)
    coloured = draw(listed, cells, bins, is_coloured=True)
    assert plain == [COLOUR.sub("", line) for line in coloured]
    assert plain != coloured
    assert all(line.count("\x1b[0m") * 2 == line.count("\x1b[") for line in coloured)


def test_the_axis_marks_round_times() -> None:
    """A mark is over the bin that begins then."""
    listed = polls(*range(0, 1440, 30))
    cells = [cell("a", m, "running" if m == 720 else "idle", m // 30) for m in range(0, 1440, 30)]
    title, axis, _, row, *_ = draw(listed, cells, choose_bins(listed, MONDAY, at("1 00:00"), 80))
    assert "2026-11-16 00:00 to 2026-11-17 00:00 UTC, a letter is 30 minutes" == title
    assert ["|11-16", "|06:00", "|12:00", "|18:00"] == axis.split()
    assert axis.index("|12:00") == row.index("r")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two pools; q fails once, is not listed at 00:15, and is gone at 00:20."""
    for name in [*os.environ]:
        if name.startswith(("AZURE_", "NODELAKE_", "NO_COLOR", "COLUMNS", "LINES")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    made = Lake(tmp_path / "lake")
    put(made, "00:00", {"p": [node("a"), node("b\x1b[2J")], "q": [node("c", "running")]})
    put(made, "00:05", {"p": [node("a", "unusable", "00:04")], "q": FAILED})
    put(made, "00:10", {"p": partial(), "q": [node("c")]})
    put(made, "00:15", {"p": [node("a")]}, scope="pools")
    put(made, "00:20", {"p": [node("a")]})
    put(made, "00:21", source="usage")
    return str(tmp_path / "lake")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines the command prints."""
    assert 0 == cli.run(["heatmap", *arguments])
    return capsys.readouterr().out.splitlines()


def test_the_command_draws_what_the_lake_has(lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Failed and partial listings, a pool that is gone; no control character, no colour in a pipe."""
    lines = printed(capsys, "--lake", lake)
    assert "2026-11-16 00:00 to 2026-11-16 00:25 UTC, 4 letters are 5 minutes" == lines[0]
    assert "iU-ii" == row_of(lines, "a")
    assert "i -" == row_of(lines, "b\\x1b[2J").rstrip()
    assert "rrii" == row_of(lines, "c").rstrip()
    assert "\x1b" not in "".join(lines)


def test_a_pool_and_a_range_may_be_chosen(lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--to is exclusive; what was not listed then is said, with exit code 1."""
    lines = printed(
        capsys, "--lake", lake, "--pool", "q", "--from", "2026-11-16", "--to", "2026-11-16T00:10Z"
    )
    assert "q (1 node)" in lines
    assert "00:10 UTC" in lines[0]
    assert {"r", GAP} == set(row_of(lines, "c"))
    assert 1 == cli.run(["heatmap", "--lake", lake, "--pool", "nowhere"])
    assert 2 == cli.run(["heatmap", "--lake", f"{lake}-that-is-not"])
    assert 2 == cli.run(["heatmap", "--lake", lake, "--from", "noon"])


def test_nodes_are_chosen_by_a_part_of_their_id_and_by_state(
    lake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each may be given several times; pools without such a node are left out; none is exit 1."""
    lines = printed(capsys, "--lake", lake, "--node", "C", "--node", "zz")
    assert ["q (1 node)"] == [line for line in lines if "node" in line]
    lines = printed(capsys, "--lake", lake, "--state", "unusable", "--state", "offline")
    assert "iU-ii" == row_of(lines, "a")
    assert ["p (1 node)"] == [line for line in lines if "node" in line]
    assert 1 == cli.run(["heatmap", "--lake", lake, "--node", "a", "--state", "running"])
    told = "no node with a in its id that was running was listed from 2026-11-16 00:00"
    assert told in capsys.readouterr().err
    assert 2 == cli.run(["heatmap", "--lake", lake, "--state", "sleepy"])


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [("COLORTERM", "", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)],
)
def test_colour_is_for_terminals_that_have_it(
    lake: str, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, expected: bool
) -> None:
    """Not where NO_COLOR is set (no-color.org), not on a dumb one."""
    monkeypatch.setenv(setting, value)
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    assert 0 == cli.run(["heatmap", "--lake", lake])
    assert expected == bool(COLOUR.search(out.getvalue()))
