"""A small emulated account, and what tests do with it: the way from the service to SQL in one line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import config, query, snapshot
from pipeline.emulator import Emulator, Fault, Fleet, FleetConfig
from pipeline.emulator.config import PoolConfig
from pipeline.extract import BatchClient
from pipeline.lake import Lake

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMITS = config.Limits(attempts=3)


def small_fleet(**pools: int) -> FleetConfig:
    """A fleet of pools by name and dedicated nodes; by default alpha (12), beta (5), gamma (3)."""
    sizes = pools or {"alpha": 12, "beta": 5, "gamma": 3}
    return FleetConfig(pools=tuple(PoolConfig(id=i, dedicated=n) for i, n in sizes.items()))


@dataclass
class Service:
    """An emulated account in this process, without a socket."""

    emulator: Emulator

    @property
    def account(self) -> config.Account:
        """The account as settings make it."""
        return config.load(None, self.emulator.settings).require_accounts()[0]

    def fault(self, kind: Any, **parameters: Any) -> None:
        """Puts a fault in force."""
        self.emulator.faults.add(Fault(kind=kind, **parameters))

    def client(self, **parameters: Any) -> BatchClient:
        """A client whose waits take no time."""
        parameters = {
            "limits": LIMITS,
            "sleep": lambda seconds: None,
            "transport": self.emulator.transport(),
        } | parameters
        now = self.emulator.fleet
        return BatchClient(
            self.account,
            local_now=lambda: now.now,
            **parameters,
        )

    def run(self, lake: Lake, **parameters: Any) -> snapshot.Outcome:
        """One snapshot, by the fleet's clock."""
        fleet = self.emulator.fleet
        with self.client() as client:
            return snapshot.run(self.account, lake, client, clock=lambda: fleet.now, **parameters)


def make_service(fleet: FleetConfig | None = None, **parameters: Any) -> Service:
    """A service with a small fleet; a page holds five nodes, so that pools fill several."""
    made = Fleet(fleet or small_fleet(), seed=3, start=START)
    return Service(Emulator(made, **({"page_limit": 5} | parameters)))


def rows(lake: Lake | Path, sql: str) -> list[dict[str, Any]]:
    """What a query answers from a lake, as dicts."""
    with query.connect(lake) as connection:
        answered: list[dict[str, Any]] = connection.table(sql).to_pylist()
        return answered


def one(lake: Lake | Path, sql: str) -> dict[str, Any]:
    """The only row a query answers."""
    (only,) = rows(lake, sql)
    return only
