"""nodelake status: how fresh, how complete, how large; against what was put into the lake."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, new_snapshot_id
from pipeline.maintain import build_facts
from pipeline.maintain import compaction as compact
from pipeline.maintain.lake_usage import ZONES
from pipeline.snapshot.ledger import Ledger
from tests.lakes import node, put

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def status(capsys: pytest.CaptureFixture[str], lake: Lake) -> dict[str, dict[str, Any]]:
    """What the command prints, by account."""
    assert cli.run(["status", "--lake", str(lake.root)]) == 0
    return {row["account"]: row for row in json.loads(capsys.readouterr().out)}


def fail(lake: Lake, at: datetime, code: str) -> None:
    """A run that failed, with its ledger row."""
    ledger = Ledger(Origin("acc", new_snapshot_id(at), at), at, "live", "account")
    ledger.error_code, ledger.error_message = code, f"{code}!"
    with lake.writer(ledger.origin.snapshot_id, "acc") as writer:
        writer.commit(ledger.table(at))


def clock(minutes: float) -> str:
    """So many minutes after noon, as ``put`` reads it."""
    at = timedelta(hours=12, minutes=minutes)
    return f"{at // timedelta(hours=1):02}:{at // timedelta(minutes=1) % 60:02}"


def test_coverage_is_the_share_of_expected_snapshots(
    capsys: pytest.CaptureFixture[str], lake: Lake
) -> None:
    """Every 5 minutes for two hours, 3 failed and 6 never ran: 16 of 25."""
    for number in range(25):
        if number in (4, 5, 11):
            fail(lake, NOON + timedelta(minutes=5 * number), "Forbidden" if number < 11 else "Busy")
        elif not 14 <= number < 20:
            put(lake, clock(5 * number), {"p": [node("n")]})
    row = status(capsys, lake)["acc"]
    assert row["interval_minutes"] == 5
    assert row["coverage_24h"] == 16 / 25
    assert row["longest_gap_minutes_24h"] == 35
    assert (row["snapshots_24h"], row["failed_24h"]) == (19, 3)
    assert row["errors_24h"] == "Forbidden: 2, Busy: 1"
    assert row["last_error"] == "Busy: Busy!"


def test_one_run_gives_no_coverage(capsys: pytest.CaptureFixture[str], lake: Lake) -> None:
    """There is no interval to expect the next one by; an import is none of the runs."""
    put(lake, "12:00", {"p": [node("n")]})
    put(lake, "12:01", {"p": [node("n")]}, source="import")
    row = status(capsys, lake)["acc"]
    assert (row["interval_minutes"], row["coverage_24h"]) == (None, None)


def test_size_and_days_to_compact(capsys: pytest.CaptureFixture[str], lake: Lake) -> None:
    """By account and zone, as the disk has them; a day that is over waits until it is compacted."""
    for day in ("", "1 ", "2 "):
        for account in ("acc", "other.eastus"):
            put(lake, f"{day}12:00", {"p": [node("n")]}, account=account)
    (lake.root / "landing/nodes/date=2026-11-16/20261116T120000Z-ffffffff.parquet").touch()
    rows = status(capsys, lake)
    for account in ("acc", "other.eastus"):
        assert rows[account]["landing_files"] == 9  # snapshots, pools, nodes of three days
        assert rows[account]["landing_bytes"] > 0
        assert rows[account]["compacted_files"] == rows[account]["history_files"] == 0
        assert rows[account]["days_to_compact"] == 3
        assert rows[account]["first_day_to_compact"] == "2026-11-16"

    compact.compact(
        lake, grace=timedelta(0), history=build_facts, through=datetime(2026, 11, 17).date()
    )
    rows = status(capsys, lake)
    for zone in ZONES:
        sizes = [file.stat().st_size for file in (lake.root / zone).rglob("*.*") if file.is_file()]
        unexpected = 1 if zone == "landing" else 0  # what no snapshot has is no one's
        assert sum(row[f"{zone}_files"] for row in rows.values()) == len(sizes) - unexpected
        assert sum(row[f"{zone}_bytes"] for row in rows.values()) == sum(sizes)
    assert {row["days_to_compact"] for row in rows.values()} == {1}
    assert {row["first_day_to_compact"] for row in rows.values()} == {"2026-11-18"}


def test_what_has_drifted_is_named(capsys: pytest.CaptureFixture[str], lake: Lake) -> None:
    """Fields that no column holds, values that no enum has: by name."""
    from tests.service import make_service

    service = make_service()
    service.fault("unknown_fields", route="nodes", count=1)
    service.fault("unknown_enums", route="nodes", count=1)
    service.run(lake)
    (row,) = status(capsys, lake).values()
    assert row["unknown_fields"]
    assert "=" in row["unknown_enum_values"]


def test_only_some_accounts(capsys: pytest.CaptureFixture[str], lake: Lake) -> None:
    """One that is recorded no more need not be late for ever; one that never was is said to be."""
    for account in ("render.eastus", "old.eastus"):
        put(lake, "12:00", {"p": [node("a")]}, account=account)
    asked = ["status", "--lake", str(lake.root), "--account"]
    for name in ("render", "render.eastus"):
        assert cli.run([*asked, name, "--max-age", "1e9"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["account"] == "render.eastus"
    assert cli.run([*asked, "rendr"]) == 0
    out, err = capsys.readouterr()
    assert [] == json.loads(out)
    assert "rendr: the lake has no snapshot of it" in err
    assert cli.run([*asked, "render", "--account", "rendr", "--max-age", "1e9"]) == 5


def test_a_clock_that_was_wrong_keeps_no_monitor_quiet(
    capsys: pytest.CaptureFixture[str], lake: Lake
) -> None:
    """A snapshot of the next century is not what --max-age is compared with, but the one before it."""
    put(lake, "12:00", {"p": [node("a")]})
    put(lake, "36525 12:00", {"p": [node("a")]})
    put(lake, "36525 12:00", {"p": [node("a")]}, account="ahead")
    asked = ["status", "--lake", str(lake.root), "--max-age"]
    assert cli.run([*asked, "1e9", "--account", "acc"]) == 0
    assert "acc: snapshots that lie in the future are left out" in capsys.readouterr().err
    assert cli.run([*asked, "1", "--account", "acc"]) == 5
    assert cli.run([*asked, "1e9", "--account", "ahead"]) == 5
    assert "ahead: has no stored snapshot" in capsys.readouterr().err
