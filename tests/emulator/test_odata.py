"""Filters and selections for any input: they keep their meaning, and never crash."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.emulator.http.odata import NODES, POOLS, read_filter, read_select, read_time, select
from pipeline.emulator.http.replies import BatchError

STATES = st.sampled_from(["idle", "running", "Creating", "it's"])
CODES = st.integers(-3, 3)


def comparison(state: str, negated: bool) -> tuple[str, Any]:
    """A comparison of the state, as text and as what it means."""
    quoted = state.replace("'", "''")
    if negated:
        return f"state ne '{quoted}'", lambda n: n["state"].lower() != state.lower()
    return f"state eq '{quoted}'", lambda n: n["state"].lower() == state.lower()


def code_comparison(operator: str, code: int) -> tuple[str, Any]:
    """A comparison of the exit code, as text and as what it means."""
    tests = {"eq": int.__eq__, "ne": int.__ne__, "ge": int.__ge__,
             "gt": int.__gt__, "le": int.__le__, "lt": int.__lt__}  # fmt: skip
    return (
        f"startTaskInfo/exitCode {operator} {code}",
        lambda n: tests[operator](n["startTaskInfo"]["exitCode"], code),
    )


LEAVES = st.one_of(
    st.builds(comparison, STATES, st.booleans()),
    st.builds(code_comparison, st.sampled_from(["eq", "ne", "ge", "gt", "le", "lt"]), CODES),
)


def join(word: str, left: Any, right: Any) -> tuple[str, Any]:
    """Two filters in brackets, joined."""
    both = {"and": lambda n: left[1](n) and right[1](n), "or": lambda n: left[1](n) or right[1](n)}
    return f"({left[0]}) {word} ({right[0]})", both[word]


FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(join, st.sampled_from(["and", "or"]), inner, inner),
        inner.map(lambda f: (f"not ({f[0]})", lambda n: not f[1](n))),
        inner.map(lambda f: (f" ( {f[0]} )", f[1])),
    ),
    max_leaves=12,
)


@given(FILTERS, STATES, CODES)
def test_filters_mean_what_they_say(written: tuple[str, Any], state: str, code: int) -> None:
    """A filter built from parts selects what the parts together do."""
    text, meaning = written
    node = {"state": state, "startTaskInfo": {"exitCode": code}}
    test = read_filter(text, NODES)
    assert test is not None
    assert meaning(node) == test(node)


@given(st.text(alphabet="state eqnorandt'()/,0123-.DT:Z%", max_size=60) | st.text(max_size=30))
def test_no_text_crashes_the_parser(text: str) -> None:
    """Any text is a filter or a 400."""
    with suppress(BatchError):
        test = read_filter(text, NODES)
        assert test is None or test({"state": "idle"}) in (True, False)


def test_and_binds_closer_than_or() -> None:
    """Without brackets "and" goes before "or"."""
    test = read_filter("id eq 'a' or id eq 'b' and vmSize eq 'x'", POOLS)
    assert test is not None
    assert test({"id": "a", "vmSize": "y"})
    assert not test({"id": "b", "vmSize": "y"})


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-02T00:00:00Z", "2026-11-02"),
        ("2026-11-02T00:00:00.1230000Z", "2026-11-02T00:00:00.123Z"),
        ("2026-11-02T01:00:00+01:00", "2026-11-02T00:00Z"),
    ],
)
def test_times(text: str, same: str) -> None:
    """The same moment written in two ways is the same."""
    assert read_time(same) is not None
    assert read_time(text) == read_time(same)


def test_seventh_digit_counts() -> None:
    """A time is compared to its seventh digit."""
    early, late = (
        read_time("2026-11-02T00:00:00.1234561Z"),
        read_time("2026-11-02T00:00:00.1234562Z"),
    )
    assert early is not None
    assert late is not None
    assert early < late


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "2026-11-02T25:00:00Z", "9" * 40])
def test_not_times(text: str) -> None:
    """What is no time is none."""
    assert read_time(text) is None


JSON = st.recursive(
    st.integers(0, 3), lambda v: st.dictionaries(st.sampled_from("abc"), v, max_size=3)
)


@given(
    st.dictionaries(st.sampled_from("abc"), JSON), st.sampled_from(["a", "a/b", "b,c/a", "c,c/b"])
)
def test_selection_keeps_part_of_the_item(item: dict[str, Any], text: str) -> None:
    """A selection holds selected members only, each as it was or a part of it, in order."""
    paths = read_select(text, frozenset("abc"))
    assert paths is not None
    selected = select(item, paths)
    heads = {path.split("/")[0] for path in paths}
    assert [name for name in item if name in heads] == list(selected)
    for path in paths:
        if "/" not in path and path in item:
            assert item[path] == selected[path]
