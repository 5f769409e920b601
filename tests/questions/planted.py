"""The planted fleet: a day of it recorded, its truth, and where its troubles are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pipeline.emulator import Emulator, Fleet, load_fleet_config
from pipeline.emulator.states import AGENTLESS
from pipeline.emulator.truth import (
    Boot,
    ErrorEpisode,
    Membership,
    Record,
    StartTaskRun,
    StateInterval,
    TaskRun,
)
from pipeline.lake import Lake
from pipeline.maintain import build_facts
from pipeline.maintain import compaction as compact
from pipeline.snapshot import usage
from tests.service import Service

FLEET = Path(__file__).with_name("fleet.toml")

#: Midnight, but for a fraction: polls then come between the emulator's round times.
START = datetime(2026, 11, 16, 6, 0, 0, 400_000, tzinfo=UTC)
DAY = START.date()
POLLS = 20 * 12 + 2  # the last one is 2 hours and 5 minutes after midnight
POLL = timedelta(minutes=5)

#: Polls by number, and what goes wrong then. Poll n is at START + n * POLL.
FAILED_NODES = {50: "render", 160: "spot"}
"""The listing of these pools' nodes fails: the snapshot is partial."""
FAILED_POOLS = 80
"""The listing of the pools fails: the snapshot is failed."""
OUTAGE = range(180, 188)
"""Nothing is polled: a gap of 45 minutes, from 20:55 to 21:40."""
UNKNOWN_FIELDS = 110
"""A node of calm shows a field that no schema names: madeUpField."""

Key = tuple[str, str, datetime]
"""An incarnation: (pool, node, allocation)."""
Setup = tuple[str | None, dict[str, str]]
"""A node's agent version, None before it reports, and its image as the service tells it."""
R = TypeVar("R", bound=Record)


def at(clock: str) -> datetime:
    """A moment of the first day: ``at("11:00")`` is when the storm of start-task failures begins."""
    hours, minutes = clock.split(":")
    return datetime.combine(DAY, time(), UTC) + timedelta(hours=int(hours), minutes=int(minutes))


def incarnation(record: Record) -> Key:
    """The incarnation that a record of the truth is about."""
    return record.pool_id, record.node_id, record.allocation_time


@dataclass(frozen=True)
class Planted:
    """The recorded fleet: where its lake is, what truly happened, and what was seen of it when.

    The day 2026-11-16 is compacted and has its history; what came after midnight is in landing.
    """

    lake: Path
    records: tuple[Record, ...]
    defects: dict[Key, str]
    """black_hole, flapping or stuck, by incarnation."""
    taken_at: dict[str, datetime]
    """When each snapshot was taken, by its id: the fleet's own time, exact."""
    ended_at: datetime
    """The last poll."""
    setups: dict[datetime, dict[Key, Setup]]
    """What every node was set up with, by the moment of each poll."""

    def of(self, kind: type[R]) -> list[R]:
        """The records of one kind, in order of time."""
        return [record for record in self.records if type(record) is kind]

    @cached_property
    def states(self) -> list[StateInterval]:
        """Every interval of a node's state, exact, from two hours before the first poll."""
        return self.of(StateInterval)

    @cached_property
    def memberships(self) -> list[Membership]:
        """Every node's stay in its pool."""
        return self.of(Membership)

    @cached_property
    def task_runs(self) -> list[TaskRun]:
        """Every attempt at a task."""
        return self.of(TaskRun)

    @cached_property
    def start_task_runs(self) -> list[StartTaskRun]:
        """Every attempt at a start task."""
        return self.of(StartTaskRun)

    @cached_property
    def boots(self) -> list[Boot]:
        """Every boot."""
        return self.of(Boot)

    @cached_property
    def errors(self) -> list[ErrorEpisode]:
        """Every time a node showed an error."""
        return self.of(ErrorEpisode)

    def odd(self, defect: str) -> Key:
        """The one node that is a black_hole, flapping or stuck."""
        (found,) = (key for key, name in self.defects.items() if name == defect)
        return found

    def listings(self, pool: str) -> list[datetime]:
        """When the pool's nodes were listed completely, while the pool was there."""
        return [
            START + number * POLL
            for number in range(POLLS)
            if number not in OUTAGE and number != FAILED_POOLS and FAILED_NODES.get(number) != pool
        ]

    @cached_property
    def seen(self) -> dict[Key, list[datetime]]:
        """The listings that showed each node, by incarnation; nodes that none showed are not in it."""
        listings = {each.pool_id: self.listings(each.pool_id) for each in self.memberships}
        found = {
            incarnation(each): [
                when
                for when in listings[each.pool_id]
                if each.joined_at <= when and (each.left_at is None or when < each.left_at)
            ]
            for each in self.memberships
        }
        return {key: moments for key, moments in found.items() if moments}

    @cached_property
    def reused_ids(self) -> set[tuple[str, str]]:
        """(pool, node id) that more than one machine had."""
        ids = Counter(incarnation(each)[:2] for each in self.memberships)
        return {key for key, count in ids.items() if count > 1}

    def polls(self, records: Iterable[R]) -> list[R]:
        """Those of some records that were going on at a poll: what a listing could have shown.

        Listings that failed are not taken out.
        """
        polls = sorted(self.taken_at.values())
        return [
            each
            for each in records
            if any(each.started_at <= poll < (each.ended_at or self.ended_at) for poll in polls)
        ]


def _new_field(node: dict[str, Any]) -> None:
    node["madeUpField"] = 1


def record(into: Path) -> Planted:
    """Lets the planted fleet live, polls it, fetches its usage, and compacts its first day."""
    lake = Lake(into)
    fleet = Fleet(load_fleet_config(FLEET), seed=23, start=START)
    service = Service(Emulator(fleet, account="planted"))
    taken_at: dict[str, datetime] = {}
    setups: dict[datetime, dict[Key, Setup]] = {}
    for number in range(POLLS):
        if number in OUTAGE:
            continue
        fleet.advance(START + number * POLL)
        service.emulator.faults.clear()
        if number in FAILED_NODES:
            service.fault("forbidden", route="nodes", pool=FAILED_NODES[number])
        elif number == FAILED_POOLS:
            service.fault("forbidden", route="pools")
        elif number == UNKNOWN_FIELDS:
            service.fault("mutate", route="nodes", pool="calm", times=1, mutate=_new_field)
        outcome = service.run(lake)
        taken_at[str(outcome.row["snapshot_id"])] = fleet.now
        setups[fleet.now] = _setups(fleet)
    service.emulator.faults.clear()
    days = usage.days_between(DAY, DAY + timedelta(1), fleet.now)
    with service.client() as client:
        usage.fetch(service.account, lake, client, days, clock=lambda: fleet.now)
    report = compact.compact(lake, clock=lambda: fleet.now, grace=timedelta(0), history=build_facts)
    assert (report.days, report.history_days) == (1, 1), report
    odd = {
        (pool.id, node.id, node.incarnation[2]): node.defect
        for pool in fleet.pools()
        for node in fleet.nodes(pool)
        if node.defect
    }
    return Planted(into, tuple(fleet.truth), odd, taken_at, fleet.now, setups)


def _setups(fleet: Fleet) -> dict[Key, Setup]:
    """The truth log knows nothing of agents and images: the nodes themselves do."""
    return {
        node.incarnation: (
            None if node.state in AGENTLESS else node.agent_version,
            node.plan.profile.image(node.image_release),
        )
        for pool in fleet.pools()
        for node in fleet.nodes(pool)
    }


def days() -> tuple[date, date]:
    """The compacted day, and the one whose first hours are in landing."""
    return DAY, DAY + timedelta(1)
