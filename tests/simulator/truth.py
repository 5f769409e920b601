"""What the machines really did, compared with what the polls make of it."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.facts import Table, machine_of
from tests.simulator.hours import UNOBSERVED, pieces
from tests.simulator.machines import DAY, Machine
from tests.simulator.record import Node, Record, midnight
from tests.simulator.world import World

#: A Date header has whole seconds, so a change may fall beyond the second in which a page was seen.
_SLACK = timedelta(seconds=3)


def _machines(world: World, node: Node) -> list[Machine]:
    """The machines that a node's rows showed: several where nothing distinguished them."""
    seen = [row.observed_at + timedelta(milliseconds=500) for row in node.rows]
    return [
        machine
        for pool in world.pools[node.account]
        for machine in pool.machines
        if pool.pool_id == node.pool_id
        and machine.node_id == node.node_id
        and any(machine.is_there(moment) for moment in seen)
    ]


def _true_spells(
    machine: Machine, begins: datetime, ends: datetime
) -> list[tuple[str, datetime, datetime]]:
    """Its states between two moments."""
    last = machine.leaves or ends
    nexts = [*(change.at for change in machine.states[1:]), last]
    spells = [
        (change.value, max(change.at, begins), min(until, ends, last))
        for change, until in zip(machine.states, nexts, strict=True)
    ]
    return [spell for spell in spells if spell[1] < spell[2]]


def true_hours_out_of_bounds(world: World, record: Record, hours: Table) -> list[str]:
    """The hours of a state that are less than certain_hours, or more than those and all uncertain ones.

    Counted are the machines that were listed, while the polls know them to be there.
    """
    key = ("date", "account", "pool_id", "vm_size", "is_dedicated")
    true: dict[tuple[Any, ...], timedelta] = defaultdict(timedelta)
    nodes: dict[tuple[Any, ...], int] = defaultdict(int)
    for node in record.nodes:
        own = [piece for piece in pieces(node) if piece.begins < piece.ends]
        if not own:
            continue
        begins, ends = min(p.begins for p in own), max(p.ends for p in own)
        for day in record.days(node.account):
            group = (day, node.account, node.pool_id, *machine_of(node.rows).values())
            nodes[group] += 1
            first, after = max(begins, midnight(day)), min(ends, midnight(day) + DAY)
            for machine in _machines(world, node):
                for state, since, until in _true_spells(machine, first, after):
                    true[*group, state] += until - since
    lines = []
    certain = {
        tuple(row[name] for name in (*key, "state")): timedelta(hours=row["certain_hours"])
        for row in hours
    }
    uncertain: dict[tuple[Any, ...], timedelta] = defaultdict(timedelta)
    for row in hours:
        uncertain[tuple(row[name] for name in key)] += timedelta(
            hours=row["hours"] - row["certain_hours"]
        )
    for each in sorted(true.keys() | certain.keys(), key=repr):
        if each[-1] == UNOBSERVED:
            continue
        slack = _SLACK * nodes[each[:-1]]
        least = certain.get(each, timedelta(0))
        most = least + uncertain[each[:-1]]
        if not least - slack <= true[each] <= most + slack:
            lines.append(f"{each}: {true[each]} is not between {least} and {most}")
    return lines
