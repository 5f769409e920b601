"""An expiry beside those who write: what it seals no one adds to, and nothing is lost unseen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline import query
from pipeline.lake import Changed, Lake, LakeError, Refused, SnapshotWriter
from pipeline.lake.manifest import put_manifest
from pipeline.lake.paths import end_of, manifest_key, watermark_key
from pipeline.lake.watermark import Watermark, raise_watermark, read_watermark
from pipeline.maintain import compaction, expiry
from pipeline.storage.disk import Disk
from tests.lakes import MONDAY, at, node
from tests.lakes import put as store

DAY = MONDAY.date()
#: What a late snapshot shows: of the day that goes, of the day whose history depends on it, and of the
#: day after, where the window of that history ends.
LATE = {"own": "0 15:00", "depending": "1 15:00", "window": "2 12:00"}
#: The last listing that history was built with which depends on the first day.
SEAL = at("2 21:00")


class Hooked(Disk):
    """A disk on which something else happens just before a file is put, once."""

    def __init__(self, root: Path, part: str, then: Callable[[], Any]) -> None:
        super().__init__(root)
        self.part = part
        self.then: Callable[[], Any] | None = then

    def sink(self, key: str, over: Any = "anything") -> Any:
        """Something else happens, then it is begun."""
        if self.part in key and self.then:
            then, self.then = self.then, None
            then()
        return super().sink(key, over)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four closed days with history, swept."""
    lake = Lake(tmp_path_factory.mktemp("made") / "lake")
    for day in range(4):
        for clock in ("03:00", "21:00"):
            store(lake, f"{day} {clock}", {"p": [node("a")]})
    for _ in range(2):
        compact(lake)
    return lake.root


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Lake:
    """A copy of it."""
    return Lake(shutil.copytree(made, tmp_path / "lake"))


def compact(lake: Lake) -> compaction.Compacted:
    """Long after everything, no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=30),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
    )


def expire(lake: Lake, days: int = 1) -> expiry.Expired:
    """The first days."""
    return expiry.expire(lake, clock=lambda: MONDAY + timedelta(days=10), compacted_days=10 - days)


def late(lake: Lake, which: str) -> str:
    """A late snapshot commits."""
    return store(lake, LATE[which], {"p": [node("a")]})


def left(lake: Lake, zone: str) -> list[str]:
    """The files of a zone."""
    return sorted(entry.key for entry in lake.storage.list(zone))


def watermark(lake: Lake) -> Watermark:
    """The account's."""
    return read_watermark(lake.storage, "acc")[0]


def final(lake: Lake) -> list[int]:
    """The days whose manifests are final, counted from the first."""
    found = lake.view().manifests.values()
    return sorted((m.date - DAY).days for m, _ in found if m.is_final)


def test_the_watermark_is_the_last_listing_that_history_was_built_with(lake: Lake) -> None:
    """The second day depends on rows of the first, and on listings of the third."""
    assert expire(lake).days == 1
    assert watermark(lake) == Watermark(sealed_until=SEAL, expired_through=DAY)
    assert final(lake) == [0, 1]
    assert left(lake, "expired") == ["expired/acc"]
    assert not any(f"date={DAY}" in key for key in left(lake, "compacted"))
    assert Lake(lake.root).view().count == 6


def test_the_watermark_never_goes_back(lake: Lake) -> None:
    """Whatever it is asked to be raised to."""
    raise_watermark(lake.storage, "acc", sealed_until=SEAL, expired_through=DAY)
    raise_watermark(lake.storage, "acc", sealed_until=at("0 10:00"))
    raise_watermark(lake.storage, "acc", expired_through=DAY - timedelta(days=1))
    assert watermark(lake) == Watermark(sealed_until=SEAL, expired_through=DAY)


def test_a_watermark_that_another_run_wrote_is_not_written_over(lake: Lake) -> None:
    """Two expiries, of which one lost its lock: the second one's condition fails."""

    def rival() -> None:
        raise_watermark(Disk(lake.root), "acc", sealed_until=at("1 00:00"))

    storage = Hooked(lake.root, "expired/", rival)
    with pytest.raises(Changed):
        raise_watermark(storage, "acc", sealed_until=SEAL)
    assert watermark(lake).sealed_until == at("1 00:00")


def test_a_watermark_that_cannot_be_read_is_named(lake: Lake) -> None:
    """By readers and by writers: neither may guess."""
    expire(lake)
    path = lake.root / watermark_key("acc")
    path.write_bytes(b"{")
    for does in (lake.view, lambda: store(lake, "9 12:00", {"p": [node("a")]})):
        with pytest.raises(LakeError, match=f"{path}: no expiry watermark .*: restore it"):
            does()


@pytest.mark.parametrize("which", LATE)
def test_what_commits_before_the_seal_keeps_the_day(lake: Lake, which: str) -> None:
    """Its writer read no seal, so the expiry finds it in landing: the day goes once it is compacted."""
    ids: list[str] = []
    storage = Hooked(lake.root, "expired/", lambda: ids.append(late(Lake(lake.root), which)))
    report = expire(Lake(lake.root, storage))
    assert (report.days, len(report.kept), report.exit_code) == (0, 1, 3)
    assert f"{ids[0]} is in landing: compact first" in report.kept[0]
    assert ids[0] in Lake(lake.root).view().snapshot_ids
    assert watermark(lake).expired_through.year == 1
    assert final(lake) == []
    for _ in range(2):
        assert compact(lake).exit_code == 0
    assert ids[0] in Lake(lake.root).view().snapshot_ids
    assert len(lake.view().history_days) == 4
    assert expire(lake).days == 1
    assert ids[0] in Lake(lake.root).view().snapshot_ids or which == "own"


@pytest.mark.parametrize("which", LATE)
def test_what_commits_after_the_seal_is_refused_and_withdrawn(lake: Lake, which: str) -> None:
    """Suspended just before its ledger file, for as long as an expiry takes."""
    before = lake.view().count
    storage = Hooked(lake.root, "landing/snapshots/", lambda: expire(Lake(lake.root)))
    with pytest.raises(Refused, match="expired"):
        late(Lake(lake.root, storage), which)
    assert storage.then is None
    assert left(lake, "landing") == []
    assert Lake(lake.root).view().count == before - 2


@pytest.mark.parametrize("which", LATE)
def test_an_expiry_suspended_before_its_date_loses_nothing(
    lake: Lake, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long after its last look: what comes meanwhile is refused by the seal, never stored."""
    plain = expiry.raise_watermark

    def suspended(storage: Any, account: str, **raised: Any) -> Watermark:
        if "expired_through" in raised:
            with pytest.raises(Refused):
                late(Lake(lake.root), which)
        return plain(storage, account, **raised)

    monkeypatch.setattr(expiry, "raise_watermark", suspended)
    assert expire(lake).days == 1
    assert left(lake, "landing") == []


def test_what_comes_above_the_seal_is_taken_and_its_days_are_built_again(lake: Lake) -> None:
    """No window of final history reaches there."""
    expire(lake)
    id_ = store(lake, "2 22:00", {"p": [node("a", "running", "2 21:30")]})
    assert compact(lake).exit_code == 0
    view = Lake(lake.root).view()
    assert id_ in view.snapshot_ids
    assert len(view.history_days) == 4
    with query.connect(lake) as connection:
        states = connection.table(
            "select state from node_states where state_transition_time > '2026-11-17'"
        )
    assert states["state"].to_pylist() == ["running"]


@pytest.mark.parametrize("which", LATE)
def test_a_refused_snapshot_whose_writer_died_is_not_there(
    lake: Lake, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it could withdraw: no reader sees it, no compaction takes it, a sweep deletes it."""
    expire(lake)
    before = lake.view().snapshot_ids
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotWriter, "_refuse_sealed", lambda _: None)
        late(lake, which)
    assert Lake(lake.root).view().snapshot_ids == before
    assert compaction.compact(lake, clock=lambda: MONDAY + timedelta(days=30)).late == 0
    assert left(lake, "landing/snapshots") != []
    assert expire(lake, 2).days == 1  # nor does it hold up an expiry
    assert compact(lake).late == 0
    assert left(lake, "landing") == []


def test_a_rebuild_suspended_past_its_lease_loses_no_history(lake: Lake) -> None:
    """Its manifest became final meanwhile, so that it cannot be replaced: the run ends."""
    store(lake, "1 01:00", {"p": [node("a")]})

    def meanwhile() -> None:
        (lake.root / "locks/compaction-acc.lock").unlink()  # as a lease ends
        other = Lake(lake.root)
        compact(other)
        compact(other)
        assert expire(other).days == 1

    storage = Hooked(lake.root, manifest_key(DAY, "acc"), meanwhile)
    with pytest.raises(Changed):
        compaction.compact(Lake(lake.root, storage), clock=lambda: MONDAY + timedelta(days=30))
    assert storage.then is None
    view = Lake(lake.root).view()
    assert len(view.history_days) == 4
    assert view.missing == {}
    assert final(lake) == [0, 1]


def test_history_that_is_being_rebuilt_holds_its_rows_back(lake: Lake) -> None:
    """A compaction that was killed in the middle of a rebuild is done again first."""
    whose = ("acc", DAY + timedelta(days=1))
    old = lake.view().manifests[whose]
    put_manifest(
        lake.storage, msgspec.structs.replace(old.manifest, state="being rebuilt"), old.entry
    )
    assert whose not in lake.view().history_days
    (kept,) = expire(lake).kept
    assert "the history of 2026-11-17 is not built yet and needs its rows: compact first" in kept
    assert left(lake, "expired") == []
    assert compact(lake).history_days == 1
    assert expire(lake).days == 1


def test_a_damaged_old_day_holds_later_days_back(lake: Lake) -> None:
    """And is named; the design says so."""
    (lake.root / f"compacted/nodes/date={DAY}/acc.parquet").unlink()
    (lake.root / manifest_key(DAY, "acc")).unlink()
    compact(lake)
    report = expire(lake, 2)
    assert (report.days, report.exit_code) == (0, 3)
    assert f"the history of {DAY} is not built yet" in report.kept[0]


def test_a_day_that_an_open_day_needs_is_kept(lake: Lake) -> None:
    """After an outage its last listing is the one before the first of a day that is not over."""
    store(lake, "8 12:00", {"p": [node("a")]})
    report = expire(lake, 4)
    assert (report.days, report.exit_code) == (0, 3)
    assert expire(lake, 3).days == 3


def test_only_an_accounts_own_days_expire(lake: Lake) -> None:
    """Another account's watermark is another file."""
    store(lake, "0 12:00", {"p": [node("a")]}, account="other")
    assert expire(lake).days == 1
    assert left(lake, "expired") == ["expired/acc"]
    assert ("other", DAY) not in lake.view().closed
    for _ in range(2):
        compact(lake)
    assert ("other", DAY) in lake.view().closed
    assert store(lake, "1 12:00", account="other") in lake.view().snapshot_ids


def test_an_expiry_that_lost_its_lock_raises_no_date(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of Blob may end while it looks: it ends, and the day is whole."""

    def lost(_: Any) -> None:
        raise Changed("the lease was lost: run the command again")

    monkeypatch.setattr("pipeline.storage.disk._FileLock.check", lost)
    with pytest.raises(Changed):
        expire(lake)
    assert watermark(lake).expired_through.year == 1
    assert Lake(lake.root).view().count == 8


def test_history_of_expired_days_goes_when_asked(lake: Lake) -> None:
    """The manifest first; of a day whose rows are there it is kept, with the reason."""
    expire(lake, 2)
    report = expiry.expire(lake, clock=lambda: MONDAY + timedelta(days=10), history_days=7)
    assert (report.history_days, report.exit_code) == (2, 3)
    (kept,) = report.kept
    day = DAY + timedelta(days=2)
    assert kept == f"{day} of acc: its rows exist: give --compacted too"
    assert not any(f"date={DAY}" in key for key in left(lake, "history"))
    view = lake.view()
    assert view.missing == {}
    assert len(view.history_days) == 2


def test_a_sealed_moment_is_refused_before_an_import_reads_its_files(lake: Lake) -> None:
    """By account and moment."""
    expire(lake)
    assert lake.is_sealed("acc", SEAL)
    assert not lake.is_sealed("acc", SEAL + timedelta(seconds=1))
    assert not lake.is_sealed("other", end_of(DAY))
