"""Core-hours: what is asked for, what is stored, and what the view shows of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pipeline import cli, query, schema
from pipeline.emulator import Emulator, Fleet
from pipeline.lake import Lake, LakeError, SnapshotWriter
from pipeline.snapshot import Outcome, usage
from tests.service import Service, make_service, one, rows, small_fleet

FIRST = date(2026, 11, 21)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


@pytest.fixture
def service() -> Service:
    """An account that is two and a half days old."""
    made = make_service()
    made.emulator.fleet.advance(made.emulator.fleet.now + timedelta(hours=60))
    return made


def fetch(service: Service, lake: Lake, first: date = FIRST, count: int = 2) -> Outcome:
    """One run over so many days, by the fleet's clock."""
    fleet = service.emulator.fleet
    days = usage.days_between(first, first + timedelta(count), fleet.now)
    with service.client() as client:
        return usage.fetch(service.account, lake, client, days, clock=lambda: fleet.now)


def test_days_are_whole_and_the_last_is_exclusive() -> None:
    """Two days are two requests' worth; the last ends where --to begins."""
    day = datetime(2026, 11, 21, tzinfo=UTC)
    expected = [(day, day + timedelta(1)), (day + timedelta(1), day + timedelta(2))]
    now = day + timedelta(days=2, hours=2)
    assert expected == usage.days_between(FIRST, FIRST + timedelta(2), now)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (FIRST, "no day lies between"),
        (FIRST - timedelta(1), "exclusive"),
        (FIRST + timedelta(2), "may end by 2026-11-22"),
        (date(9999, 12, 31), "two hours late"),
    ],
)
def test_a_range_that_cannot_be_asked_for_is_refused_plainly(end: date, told: str) -> None:
    """No day at all, or days for which the service has no figures yet."""
    now = datetime(2026, 11, 23, 1, 59, tzinfo=UTC)
    with pytest.raises(usage.RangeError, match=told):
        usage.days_between(FIRST, end, now)


def test_core_hours_are_stored_as_a_snapshot_of_source_usage(service: Service, lake: Lake) -> None:
    """With its ledger row; every half hour that the service reported is there."""
    outcome = fetch(service, lake)
    assert (0, True) == (outcome.exit_code, outcome.is_stored)
    ledger = one(lake, "select * from snapshots")
    assert ("usage", "complete", "account") == tuple(
        ledger[name] for name in ("source", "status", "scope")
    )
    assert ledger["pool_usage_rows"] == one(lake, "select count(*) as n from pool_usage")["n"] > 0
    start = datetime(2026, 11, 21, tzinfo=UTC)
    told = service.emulator.fleet.usage(
        int(start.timestamp()) * 10**6, int((start + timedelta(2)).timestamp()) * 10**6
    )
    expected = round(sum(row["totalCoreHours"] for row in told), 6)
    found = one(lake, "select sum(total_core_hours) as hours from pool_usage")["hours"]
    assert expected == round(found, 6)


def test_it_proves_nothing_about_nodes(service: Service, lake: Lake) -> None:
    """The fleet as of now is that of the last listing, however new the usage."""
    service.run(lake)
    service.emulator.fleet.advance(service.emulator.fleet.now + timedelta(minutes=5))
    before = len(rows(lake, "from nodes_latest"))
    fetch(service, lake)
    assert before == len(rows(lake, "from nodes_latest")) > 0
    kept = "select count(*) as n from snapshots where source = 'usage' and pools_listed > 0"
    assert 0 == one(lake, kept)["n"]


def test_fetching_again_replaces_nothing_but_the_view_shows_the_latest(
    service: Service, lake: Lake
) -> None:
    """Each half hour once, from the later snapshot; all rows are in pool_usage_snapshots."""
    fetch(service, lake)
    count = "select count(*) as n from pool_usage"
    once = one(lake, count)["n"]
    service.emulator.fleet.advance(service.emulator.fleet.now + timedelta(minutes=5))
    later = fetch(service, lake).row["snapshot_id"]
    assert once == one(lake, count)["n"]
    assert 2 * once == one(lake, "select count(*) as n from pool_usage_snapshots")["n"]
    expected = [{"snapshot_id": later}]
    assert expected == rows(lake, "select distinct snapshot_id from pool_usage")


def test_a_connection_that_refreshes_sees_the_view_anew(service: Service, lake: Lake) -> None:
    """The view is made over again, as often as one likes; it has the columns of an empty lake's."""
    with query.connect(lake) as connection:
        count = "select count(*) from pool_usage"
        assert [(0,)] == connection.sql(count).fetchall()
        empty = connection.sql("describe pool_usage").fetchall()
        fetch(service, lake)
        for _ in range(2):
            connection.refresh()
            assert connection.sql(count).fetchall() > [(0,)]
        assert empty == connection.sql("describe pool_usage").fetchall()
    assert [c.name for c in schema.POOL_USAGE.stored] + ["date"] == [row[0] for row in empty]


def test_a_failed_run_leaves_its_ledger_row(service: Service, lake: Lake) -> None:
    """Nothing was read: exit code 1, the code of the failure in the ledger."""
    service.fault("forbidden", route="poolusagemetrics")
    outcome = fetch(service, lake)
    assert 1 == outcome.exit_code
    ledger = one(lake, "select * from snapshots")
    assert ("usage", "failed", 0) == tuple(
        ledger[name] for name in ("source", "status", "pool_usage_rows")
    )
    assert ledger["error_code"]
    assert ledger["error_message"].startswith("from 2026-11-21 on: ")


def test_a_later_day_that_fails_leaves_what_was_read(service: Service, lake: Lake) -> None:
    """The run is partial, and its ledger row names the day from which rows are missing."""
    fleet = service.emulator.fleet
    days = usage.days_between(FIRST, FIRST + timedelta(2), fleet.now)
    with service.client() as client:
        real = client.usage_metrics

        def failing(start: datetime, end: datetime) -> object:
            if start.day == 22:
                service.fault("forbidden", route="poolusagemetrics")
            return real(start, end)

        client.usage_metrics = failing  # type: ignore[method-assign,assignment]
        outcome = usage.fetch(service.account, lake, client, days, clock=lambda: fleet.now)
    assert 3 == outcome.exit_code
    assert str(outcome.row["error_message"]).startswith("from 2026-11-22 on: ")
    found = one(lake, "select max(end_time) as last from pool_usage")["last"]
    assert datetime(2026, 11, 22, tzinfo=UTC) == found


def test_a_run_that_breaks_leaves_a_failed_ledger_row(
    service: Service, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C and a full disk are recorded in the ledger; no row of theirs is visible."""
    real = SnapshotWriter.write
    for error, code in ((KeyboardInterrupt(), "Interrupted"), (LakeError("full"), "LakeError")):

        def broken(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(SnapshotWriter, "write", broken)
        with pytest.raises(type(error)):
            fetch(service, lake)
        monkeypatch.setattr(SnapshotWriter, "write", real)
        told = rows(lake, f"select status, source from snapshots where error_code = '{code}'")
        assert [{"status": "failed", "source": "usage"}] == told
    assert [] == rows(lake, "from pool_usage_snapshots")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nodelake usage` over a socket; a range too young, or no day, is wrong usage."""
    now = datetime.now(UTC)
    fleet = Fleet(small_fleet(alpha=2), seed=3, start=now - timedelta(days=3))
    fleet.advance(now)
    monkeypatch.chdir(tmp_path)
    first, end = (now - timedelta(days=3)).date(), (now - timedelta(days=1)).date()
    with Emulator(fleet).serve() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        arguments = ["usage", "--lake", "lake", "--from", f"{first}", "--to"]
        assert 0 == cli.run([*arguments, f"{end}"])
        assert 2 == cli.run([*arguments, f"{now.date() + timedelta(1)}"])
        assert 2 == cli.run([*arguments, "yesterday"])
    assert one(tmp_path / "lake", "select count(*) as n from pool_usage")["n"] > 0
    assert 1 == one(tmp_path / "lake", "select count(*) as n from snapshots")["n"]
