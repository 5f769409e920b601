"""The usage of a lake by account: files and bytes by zone, and days that wait for compaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from pipeline.lake import Lake, View, date_of
from pipeline.maintain.clocks import closes_at

ZONES = ("landing", "compacted", "history")


@dataclass
class LakeUsage:
    """The usage of one account."""

    files: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ZONES, 0))
    bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ZONES, 0))
    open_days: set[date] = field(default_factory=set)
    """Days that are over and not compacted."""


def lake_usage(
    lake: Lake, view: View, accounts: Mapping[str, str], now: datetime
) -> dict[str, LakeUsage]:
    """Files and bytes as they are now, and the open days of a view, by account.

    Landing files that compaction has replaced and not yet swept count as landing; files of no
    committed snapshot, which a killed run left, belong to no account.

    Args:
        accounts: whose each committed snapshot is, by id.
        now: a day is over once no run that began in it can still be going.
    """
    found: dict[str, LakeUsage] = defaultdict(LakeUsage)
    for zone in ZONES:
        for entry in lake.storage.list(zone):
            stem = entry.key.rpartition("/")[2].removesuffix(".parquet").removesuffix(".json")
            whose = accounts.get(stem) if zone == "landing" else stem.partition("-late-")[0]
            if whose is not None and entry.key.endswith((".parquet", ".json")):
                found[whose].files[zone] += 1
                found[whose].bytes[zone] += entry.size
    for snapshot_id in view.waiting:
        whose, day = accounts.get(snapshot_id), date_of(snapshot_id)
        if whose and (whose, day) not in view.closed and closes_at(day) <= now:
            found[whose].open_days.add(day)
    return found
