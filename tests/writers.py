"""The machines of the many-writers test.

``snapshots`` records its emulated accounts in turn; ``compactions`` compacts whatever it finds, again
and again, until the file ``stop`` is there among its notes.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.emulator import Emulator, Fleet
from pipeline.lake import Changed, Lake
from pipeline.maintain import build_facts, compaction
from tests.service import Service, small_fleet

START = datetime(2026, 11, 19, 6, tzinfo=UTC)
#: Hours after START: three snapshots of one day, one of the next.
HOURS = (0, 8, 17, 20)
#: When those days are over.
AFTER = START + timedelta(days=3)


def snapshots(uri: str, notes: Path, accounts: list[str]) -> None:
    """All snapshots of some accounts; notes each id once it is committed."""
    lake = Lake(uri)
    services = [
        Service(
            Emulator(
                Fleet(small_fleet(alpha=4, beta=2), seed=seed, start=START),
                account=account,
                page_limit=3,
            )
        )
        for seed, account in enumerate(accounts)
    ]
    for hour in HOURS:
        for service in services:
            service.emulator.fleet.advance(START + timedelta(hours=hour))
            outcome = service.run(lake)
            assert outcome.row["status"] == "complete", outcome.row
            told = f"{outcome.row['account']} {outcome.row['snapshot_id']}\n"
            with (notes / "committed").open("a") as file:
                file.write(told)


def compactions(uri: str, notes: Path) -> None:
    """Compactions, one after another, beside the others; notes what each of them closed."""
    lake = Lake(uri)
    while True:
        is_last = (notes / "stop").exists()
        try:
            report = compaction.compact(lake, clock=lambda: AFTER, history=build_facts)
        except Changed:
            continue  # another one wrote the same file first: nothing is broken, run again
        with (notes / "compacted").open("a") as file:
            file.write(f"{report.days} {report.late} {report.history_days}\n")
        if is_last:
            return
        time.sleep(1)
