"""The envelope: what is no page is an error, never an empty page, never a crash of another kind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.flatten import pages, quotes
from pipeline.flatten.columns import Report
from pipeline.flatten.pages import BadPage, is_id, read_fast, read_page
from pipeline.flatten.shape import Repeated
from tests.made_up import AT, flattened, flattener, node, page, whole_node


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'[{"id":"a"}]',
        b"{}",
        b'{"value":null}',
        b'{"value":{}}',
        b'{"value":"[]"}',
        b'{"value":[',
        b'{"value":[{"id":"a"}',
        b'{"value":[]}{"value":[]}',
        b'{"value":[]}\n{"value":[{"id":"a"}]}',
        b'{"value":[]} x',
        b'{"value":[],"value":[{"id":"a"}]}',
        b'{"value":[],"odata.nextLink":"a","odata.nextLink":"b"}',
        b'{"value":[],"odata.nextLink":7}',
        b'{"value":[{"id":"a",}]}',
        b'{"value":[{"id":"a","vmSize":"\x01"}]}',
        b'{"value":[{"id":"a"}],"new":NaN}',
        b'{"value":[{"id":"a","totalTasksRun":NaN}]}',
        b'{"value":[{"id":"a","new":-Infinity}]}',
        b'{"odata.metadata":"x","code":"PoolNotFound","message":{"lang":"en-US","value":"no"}}',
        b"<html><body>Bad gateway</body></html>",
        b'{"value":[{"id":"a","vmSize":"\xff"}]}',
        b'{"value":[{"id":"\xff"}]}',
        b'{"value":[{"id":"a","startTask":{"commandLine":"\xff"}}]}',
        b'{"value":[{"id":"a","recentTasks":[{"jobId":"\xc3\x28"}]}]}',
        b'{"value":[{"id":"a","vmSize":"\xed\xa0\x80"}]}',
        b'{"value":[{"id":"a","new":"\xff"}]}',
        b'{"value":[],"\xff":1}',
        '{"value":[]}'.encode("utf-16"),
        '{"value":[]}'.encode("utf-32-le"),
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    """A body that is not one object with a ``value`` list is an error, never an empty page."""
    reading = flattener()
    with pytest.raises(BadPage):
        reading.page(body, AT)
    with pytest.raises(BadPage):
        read_page(body)

    assert (0, Report()) == (reading.nodes, reading.report)


def test_every_truncation_is_refused() -> None:
    """A connection dropped in mid-body, wherever: no prefix of a page is a page."""
    body = page(whole_node(), node("b"))
    for end in range(len(body)):
        with pytest.raises(BadPage):
            flattener().page(body[:end], AT)


@pytest.mark.parametrize(
    "body",
    [
        b'{"value":[{"id":"a","new":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}",
        b'{"value":[{"id":"a","new":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}]}",
        b'{"value":[{"id":"a"}],"new":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_ten_thousand_levels_cost_a_node_at_most(body: bytes) -> None:
    """What is too deep is cut off; the page is read."""
    tables, _ = flattener().page(body, AT)
    assert ["a"] == tables["nodes"]["node_id"].to_pylist()


def test_depths_between_do_not_overflow() -> None:
    """However deep an unknown field is: its node is malformed, or it is kept."""
    for depth in range(50, 1200, 50):
        body = b'{"value":[{"id":"a","new":' + b'{"a":[' * depth + b"]}" * depth + b"}]}"
        tables, _ = flattener().page(body, AT)
        assert [depth > 50] == tables["nodes"]["is_malformed"].to_pylist()


def test_a_byte_order_mark_is_no_part_of_a_page() -> None:
    """Files saved by PowerShell begin with one."""
    tables = flattened(b"\xef\xbb\xbf" + page(node("a")))

    assert ["a"] == tables["nodes"]["node_id"].to_pylist()


def test_unknown_fields_in_the_envelope_are_no_harm() -> None:
    """A newer service may say more about a page."""
    assert 1 == flattened(b'{"value":[{"id":"a"}],"odata.count":1}')["nodes"].num_rows


def test_what_bad_page_says_holds_nothing_of_the_body() -> None:
    """It is logged and stored."""
    for body in (b'{"value": [{"password": "hunter2"', b"hunter2", b'{"hunter2": 1, "value": NaN}'):
        with pytest.raises(BadPage) as caught:
            flattener().page(body, AT)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["tvmps_1_d", "a b", "ü", "-", "0"])
def test_ids(value: str) -> None:
    """Printable strings with something in them, plain ASCII or not, by either reader."""
    assert is_id(value)
    assert [value] == flattened(page(node(value)))["nodes"]["node_id"].to_pylist()


@pytest.mark.parametrize("last", ["z", "ü"])
def test_an_id_longer_than_any_is_none(last: str) -> None:
    """By either reader: 1,000 letters are one, 1,001 are none, and their node is malformed."""
    longest = "z" * 999 + last
    for value, is_malformed in ((longest, False), ("z" + longest, True)):
        nodes = flattened(page(node(value), node("a")))["nodes"].to_pylist()
        assert (is_malformed, False) == tuple(each["is_malformed"] for each in nodes)
        assert (None if is_malformed else value) == nodes[0]["node_id"]


BODY = page(whole_node(), node("b", vmSize="\U0001f680"), next_link="https://acct/next")
PIECES = [
    b"",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"{}",
    b"[]",
    b"0",
    b"-",
    b"1.5",
    b" ",
]
PIECES += [
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\n",
    b"1e999",
    b"true",
]
DAMAGE = st.tuples(
    st.integers(0, len(BODY)), st.integers(0, 3), st.sampled_from([*PIECES, b'"id":"c",'])
)


def check_damaged(damages: list[tuple[int, int, bytes]]) -> None:
    """A damaged page is refused, or read; both paths make the same tables of it."""
    body = BODY
    for at, length, piece in damages:
        body = body[:at] + piece + body[at + length :]
    try:
        tables = flattened(body)
    except BadPage:
        assert read_fast(body) is None
        return
    values, _ = read_page(body)
    slow = flattener().values(values, AT)
    assert slow.keys() == tables.keys()
    assert all(slow[name].equals(tables[name]) for name in tables)


@given(st.lists(DAMAGE, min_size=1, max_size=2))
@settings(deadline=None, max_examples=100, suppress_health_check=[*HealthCheck])
def test_a_damaged_page_is_refused_or_read_alike(damages: list[tuple[int, int, bytes]]) -> None:
    """Bytes changed anywhere: no crash, and nothing that one reader takes and the other does not."""
    check_damaged(damages)


@pytest.mark.long
@given(st.lists(DAMAGE, min_size=1, max_size=3))
@settings(deadline=None, max_examples=50_000, suppress_health_check=[*HealthCheck])
def test_many_damaged_pages(damages: list[tuple[int, int, bytes]]) -> None:
    """The same, many times."""
    check_damaged(damages)


@pytest.mark.parametrize(
    "more",
    [
        b'"new":1',
        b'"new":null',
        b'"new":{}',
        b'"new":[]',
        b'"vmSize":null',
        b'"vmSize":"a","vmSize":"b"',
        b'"nodeAgentInfo":{}',
        b'"nodeAgentInfo":{"new":1}',
        b'"startTaskInfo":{"failureInfo":{}}',
        b'"recentTasks":[null]',
        b'"recentTasks":[{}]',
        b'"recentTasks":[{"jobId":"a","executionInfo":{}},{"jobId":"b","executionInfo":{"exitCode":1}}]',
        b'"certificateReferences":[{"visibility":[null]}]',
        b'"startTask":null',
        b'"startTask":0',
        b'"startTask":[{"commandLine":"a"}]',
        b'"startTask":{"commandLine":"a"},"startTask":{"commandLine":"b"}',
        b'"totalTasksRun":"\\u0000"',
        b'"totalTasksRun":"12"',
        b'"isDedicated":"true"',
    ],
    ids=lambda more: more.decode(),
)
def test_what_the_columns_would_not_show_needs_the_slow_path(more: bytes) -> None:
    """UnknownFields, nulls, empty objects, members named twice, numbers in quotes."""
    other = b'{"id":"a","vmSize":"x","startTask":{"commandLine":"a"}}'
    assert read_fast(b'{"value":[%b]}' % other) is not None
    assert read_fast(b'{"value":[%b,{"id":"b",%b},%b]}' % (other, more, other)) is None


JSON = st.recursive(
    st.text('\\\\"/u0é\n', max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('\\\\"', max_size=3), inner),
)


@given(JSON, st.integers(1, 9))
@settings(deadline=None)
def test_quotes_around_strings_are_counted(value: object, at_once: int) -> None:
    """Whatever is escaped in them, and wherever a chunk ends: two for each string of the value."""

    def strings(value: object) -> int:
        if isinstance(value, str):
            return 1
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return sum(map(strings, inner))  # type: ignore[call-overload]

    with mock.patch.object(quotes, "_AT_ONCE", at_once):
        assert quotes.quotes_around_strings(json.dumps(value).encode()) == 2 * strings(value)


@pytest.mark.parametrize(
    "more",
    [
        b'"vmSize":"a\\"b\\\\\\"c\\\\"',
        b'"vmSize":"\\u00e9\\ud83d\\ude80\\n"',
        b'"vmSize":"a\\u0022"',
        '"vmSize":"über \\\\ 東京"'.encode(),
        b'"v\\u006dSize":"a"',
        b'"recentTasks":[],"errors":[]',
        b'"startTask" :\n { "commandLine" : "say \\"hello\\"" }',
        b'"startTask":{"commandLine":"startTask","resourceFiles":[]}',
        b'"recentTasks":[{"jobId":"startTask"}],"startTask":{"commandLine":null}',
    ],
    ids=lambda more: more.decode(),
)
def test_what_the_columns_show_takes_the_fast_path(more: bytes) -> None:
    """Quotes within strings, escapes, white space, empty lists: both paths make the same tables."""
    body = b'{"value":[{"id":"a",%b},{"id":"b","startTask":{"commandLine":"c"}}]}' % more
    assert read_fast(body) is not None
    slow = flattener().values(read_page(body)[0], AT)
    fast = flattened(body)
    assert all(slow[name].equals(fast[name]) for name in slow)


def test_an_integer_of_thousands_of_digits_is_the_matter_of_its_node() -> None:
    """Python reads none beyond 4,300; the other nodes of the page are read."""
    for name in (b"new", b"totalTasksRun"):
        body = b'{"value":[{"id":"a","%b":%b},{"id":"b"}]}' % (name, b"1" * 5000)
        assert [True, False] == flattened(body)["nodes"]["is_malformed"].to_pylist()


@pytest.mark.parametrize("has_memory_files", [False, True])
def test_a_page_is_read_alike_from_any_source(
    has_memory_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux has files in memory, macOS has none."""
    if has_memory_files and not pages._HAS_MEMORY_FILES:
        pytest.skip("needs memfd_create and /proc: Linux")
    monkeypatch.setattr(pages, "_HAS_MEMORY_FILES", has_memory_files)

    assert read_fast(page(node("a"), node("b"))) is not None
    assert read_fast(page(node("a"))) is not None  # a shorter one after it
    assert read_fast(page(node("a"), node("b", new=1))) is None


def test_small_steps_take_turns() -> None:
    """Of several threads one is in such a step at a time."""
    inside, most = threading.Semaphore(1), []

    @pages.in_turn
    def step(number: int) -> int:
        most.append(inside.acquire(blocking=False))
        time.sleep(0.005)
        inside.release()
        return number

    with ThreadPoolExecutor(4) as workers:
        assert [*range(8)] == [*workers.map(step, range(8))]
    assert [True] * 8 == most


_FORKED = """
import os, threading
from pipeline.flatten import pages, quotes
begun, over = threading.Event(), threading.Event()
step = pages.in_turn(lambda: (begun.set(), over.wait()))
threading.Thread(target=step, daemon=True).start()
begun.wait()
child = os.fork()
if not child:
    os._exit(pages.in_turn(lambda: 7)())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
"""


def test_a_fork_need_not_wait_for_the_turn_of_a_thread_it_lacks() -> None:
    """The child of a fork has the lock, and not the thread that would let go of it."""
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKED],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )

    assert b"7" == told.stdout.strip()


NUMBERS = st.sampled_from(["0", "-0", "1.0", "1e2", "1e999", "9" * 30, "9" * 500, "0.1", "NaN"])
TEXTS = st.recursive(
    NUMBERS | st.sampled_from(["null", "true", '""', '"a\\"b"', '"\\ud800"', '"é"', "x"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{','.join(each)}]")
        | st.lists(
            st.tuples(
                st.sampled_from(
                    ["a", "b", '\\"'],
                ),
                inner,
            ),
            max_size=3,
        ).map(lambda each: "{" + ",".join(f'"{name}":{value}' for name, value in each) + "}")
    ),
    max_leaves=8,
)


@given(TEXTS)
@settings(deadline=None, max_examples=300)
def test_plain_json_is_read_like_any_other(text: str) -> None:
    """Or left to the other reader: repeated members, numbers that JSON cannot carry, lone surrogates."""
    plain = pages.parse_plain(text)
    try:
        value = pages.parse(text)
    except ValueError:
        assert plain is None
        return
    if plain is not None:
        assert repr(plain) == repr(value)
        assert pages.parse(msgspec.json.encode(plain).decode()) == value
    elif value is not None:
        assert any(part in text for part in ("1e999", "9" * 19, "\\ud800")) or _repeats(value)


def _repeats(value: object) -> bool:
    if isinstance(value, dict):
        return isinstance(value, Repeated) or any(map(_repeats, value.values()))
    return isinstance(value, list) and any(map(_repeats, value))
