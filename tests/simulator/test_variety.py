"""The worlds hold what is hard: what a fleet or a poll may do comes up in some of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from tests.simulator import world
from tests.simulator.facts import stays
from tests.simulator.record import Node, Record
from tests.simulator.world import Poll, World


def _of_polls(made: World) -> Iterator[str]:
    days = {poll.at.date() for poll in made.polls}
    if len(days) < (max(days) - min(days)).days + 1:
        yield "a day without polls"
    for poll in made.polls:
        yield from _of_poll(poll)


def _of_poll(poll: Poll) -> Iterator[str]:
    if poll.local_at != poll.at:
        yield "clocks that differ"
    if poll.wanted:
        yield "a run of some pools"
    if poll.source == "import":
        yield "an import made complete" if poll.is_complete else "an import"
        if poll.is_late:
            yield "a late import"
    if poll.pool_fault:
        yield "pools that could not all be listed" if poll.pools else "no list of pools"
    for planned in poll.nodes.values():
        if planned.fault is not None:
            begun = "begun" if planned.pages else "never begun"
            yield f"a listing {begun}, then {planned.fault}"
        if (
            planned.pages
            and planned.pages[0].observed_at.date() != planned.pages[-1].observed_at.date()
        ):
            yield "a listing over midnight"
        for page in planned.pages:
            if page.malformed:
                yield "a malformed node"


def _of_nodes(record: Record) -> Iterator[str]:
    for (_, _), listings in record.listings.items():
        if any(listing.is_absence for listing in listings):
            yield "a pool that is not there"
        for one, other in itertools.pairwise(listings):
            ids = {row.node_id for row in other.rows}
            if (
                one.started_at
                and one.finished_at
                and one.started_at.date() < one.finished_at.date()
            ):
                first = [row for row in one.rows if row.observed_at == one.started_at]
                if any(row.node_id not in ids for row in first):
                    yield "a node on the first page of a listing over midnight that then goes"
    for node in record.nodes:
        yield from _of_node(record, node)


def _of_node(record: Record, node: Node) -> Iterator[str]:
    if node.ended_before is not None:
        yield "a node that went"
    if node.replaced_at is not None:
        yield "an id that was reused"
    if node.allocation_time is None:
        yield "a node that never shows an allocation"
    elif any("allocationTime" not in row.document for row in node.rows):
        yield "a node that shows its allocation at times"
    if not stays(node):
        yield "a node without a known state"
    if node.rows[-1].is_malformed:
        yield "a node that was malformed when last seen"
    proofs = [each for each in record.listings[node.account, node.pool_id] if each.is_proof]
    for one, other in zip(node.rows, node.rows[1:], strict=False):
        between = [
            each
            for each in proofs
            if each.started_at and one.observed_at < each.started_at < other.listing.started_at  # type: ignore[operator]
        ]
        if between:
            yield f"a node that was absent {'once' if len(between) == 1 else 'twice'} and came back"
    tasks = [told for row in node.rows for told in row.value("recentTasks") or []]
    if any("startTime" not in told["executionInfo"] for told in tasks):
        yield "a task that has not begun"
    if any(told["executionInfo"]["retryCount"] for told in tasks):
        yield "a task that was retried"
    if any("subtaskId" in told for told in tasks):
        yield "a subtask"
    states = {stay.state for stay in stays(node)}
    yield from (f"a node that is {state}" for state in states)
    if len({row.value("startTask", "commandLine") for row in node.readable}) > 1:
        yield "a start task that changed"
    if any(row.value("errors") for row in node.rows):
        yield "an error of a node"
    if any(row.value("startTaskInfo", "result") == "failure" for row in node.rows):
        yield "a start task that failed"


EXPECTED = {
    *("a day without polls", "clocks that differ", "a run of some pools", "an import"),
    *("an import made complete", "a late import", "pools that could not all be listed"),
    *("no list of pools", "a listing begun, then refused", "a listing never begun, then refused"),
    *("a listing over midnight", "a malformed node", "a pool that is not there"),
    "a node on the first page of a listing over midnight that then goes",
    *("a node that went", "an id that was reused", "a node that never shows an allocation"),
    *("a node that shows its allocation at times", "a node without a known state"),
    "a node that was malformed when last seen",
    "a node that was absent once and came back",
    "a node that was absent twice and came back",
    *("a task that has not begun", "a task that was retried", "a subtask"),
    *("a start task that changed", "an error of a node", "a start task that failed"),
    *("a node that is preempted", "a node that is deallocated", "a node that is starttaskfailed"),
    *("a node that is leavingpool", "a node that is reimaging", "a node that is unknown"),
}


def test_worlds_hold_what_is_hard() -> None:
    """Each of these in at least five of the first hundred worlds of the long form."""
    found: Counter[str] = Counter()
    for seed in range(100, 200):
        made = world.make(seed)
        found.update({*_of_polls(made), *_of_nodes(Record(made.polls))})
    assert {} == {name: found[name] for name in EXPECTED if found[name] < 5}
