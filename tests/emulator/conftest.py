"""Fixtures for the emulator's tests: signed clients, in process and over a socket."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.emulator import Emulator, Fleet
from pipeline.emulator.config import FaultyNodes, FleetConfig, PoolConfig, Rates, Work

from .client import Client

START = datetime(2026, 11, 2, tzinfo=UTC)


def busy_config(nodes: int) -> FleetConfig:
    """A fleet of this many nodes, half of them spot, in which everything happens often."""
    rates = Rates(
        reboots=0.2,
        reimages=0.2,
        unusable=0.2,
        unknown=0.2,
        offline=0.2,
        os_upgrades=0.2,
        deallocations=0.2,
        errors=0.3,
    )
    quarter = nodes // 4
    return FleetConfig(
        pools=(
            PoolConfig(
                id="steady",
                profile="render",
                dedicated=nodes - 3 * quarter,
                rates=rates,
                faulty_nodes=FaultyNodes(black_hole=1, flapping=1, stuck=1),
                removals_per_day=8.0,
                work=Work(task_minutes=60.0),
            ),
            PoolConfig(
                id="spot",
                profile="spot",
                spot=2 * quarter,
                task_slots=2,
                rates=Rates(preemptions=1.0),
                work=Work(task_minutes=90.0, gang_every_hours=8.0, gang_size=4),
                preemption_wave_hours=(12.0,),
            ),
            PoolConfig(
                id="boxes",
                profile="containers",
                dedicated=quarter,
                rates=rates,
                work=Work(task_minutes=90.0),
            ),
        )
    )


@pytest.fixture(scope="session")
def lived_fleet() -> Fleet:
    """The demo fleet after a day in steps of an hour. Read only: tests share it."""
    fleet = Fleet(seed=7, start=START)
    for hour in range(1, 25):
        fleet.advance(START + timedelta(hours=hour))
    return fleet


@pytest.fixture
def emulator() -> Emulator:
    """The demo fleet at its start, behind an emulator of its own that never sleeps."""
    return Emulator(Fleet(seed=7, start=START), sleep=lambda seconds: None)


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    """A signing client to the emulator, in process."""
    with Client(emulator) as client:
        yield client
