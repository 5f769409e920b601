"""An expiry beside those who write: what it gives up nobody adds to, and nothing is lost unseen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.lake import Lake, Refused, expiry
from pipeline.maintain import compaction, sweep
from pipeline.query import history
from pipeline.storage import Changed, Locked, put
from pipeline.storage.disk import Disk
from tests.lakes import MONDAY, node
from tests.lakes import put as store

DAY = MONDAY.date()
#: What a late snapshot shows, of the day that goes and of the day whose history leans on it.
LATE = {"own": "0 15:00", "leaning": "1 15:00"}


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
    """Three closed days with history, swept."""
    lake = Lake(tmp_path_factory.mktemp("made") / "lake")
    for day in range(3):
        for clock in ("03:00", "21:00"):
            store(lake, f"{day} {clock}", {"p": [node("a")]})
    for _ in range(2):
        compact(lake)
    return lake.root


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Lake:
    """A copy of it."""
    return Lake(shutil.copytree(made, tmp_path / "lake"))


def compact(lake: Lake) -> compaction.Report:
    """Long after everything, no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=30),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
        history=history,
    )


def expire(lake: Lake) -> sweep.Expired:
    """The first day."""
    today = DAY + timedelta(days=10)
    return sweep.expire(lake, today=today, compacted_days=9, history=history)


def late(lake: Lake, which: str) -> str:
    """A late snapshot commits."""
    return store(lake, LATE[which], {"p": [node("a")]})


def left(lake: Lake, zone: str) -> list[str]:
    """The files of a zone."""
    return sorted(entry.key for entry in lake.storage.list(zone))


@pytest.mark.parametrize("which", LATE)
def test_what_commits_before_the_look_keeps_the_day(lake: Lake, which: str) -> None:
    """It saw no intent, so the expiry sees it: the day stays, and goes once it is compacted."""
    ids: list[str] = []
    storage = Hooked(lake.root, "expiring/", lambda: ids.append(late(Lake(lake.root), which)))
    report = expire(Lake(lake.root, storage))
    assert (report.days, len(report.kept)) == (0, 1)
    assert ids[0] in Lake(lake.root).view().snapshot_ids
    assert left(lake, "expiring") == left(lake, "expired") == []
    for _ in range(2):
        compact(lake)
    assert expire(lake).days == 1


@pytest.mark.parametrize("which", LATE)
def test_what_comes_while_the_expiry_looks_waits_and_is_told(
    lake: Lake, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is there: the expiry goes on."""
    monkeypatch.setattr(expiry, "PATIENCE", 0.0)
    plain = sweep._still_needed

    def looked(*given: Any) -> Any:
        why = plain(*given)
        with pytest.raises(Locked):
            late(Lake(lake.root), which)
        return why

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_still_needed", looked)
        assert expire(lake).days == 1
    assert left(lake, "landing") == []
    with pytest.raises(Refused):
        late(lake, which)


@pytest.mark.parametrize("which", LATE)
def test_what_commits_after_the_look_is_refused_and_taken_back(lake: Lake, which: str) -> None:
    """Held up between its first look and its ledger file, for as long as an expiry takes."""
    before = lake.view().count
    storage = Hooked(lake.root, "landing/snapshots/", lambda: expire(Lake(lake.root)))
    with pytest.raises(Refused, match="expired"):
        late(Lake(lake.root, storage), which)
    assert storage.then is None
    assert left(lake, "landing") == []
    assert Lake(lake.root).view().count == before - 2


@pytest.mark.parametrize("which", LATE)
def test_a_killed_expiry_holds_nobody_up(lake: Lake, which: str) -> None:
    """Its lock is free: what it was about to do is forgotten, by a writer or by the next expiry."""
    intent = expiry.intent_key(DAY, "acc")
    put(lake.storage, intent, b"")
    assert late(lake, which) in lake.view().snapshot_ids
    assert left(lake, "expiring") == []
    for _ in range(2):
        compact(lake)
    put(lake.storage, intent, b"")
    assert expire(lake).days == 1
    assert left(lake, "expiring") == []


def test_who_has_put_its_ledger_file_waits_however_long(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot say that nothing is there: it is told once the expiry has decided."""
    put(lake.storage, expiry.intent_key(DAY, "acc"), b"")
    held = ExitStack()
    held.enter_context(lake.lock("compaction", "acc"))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            held.close()

    monkeypatch.setattr(expiry, "PATIENCE", 0.0)
    monkeypatch.setattr(expiry, "time", SimpleNamespace(monotonic=time.monotonic, sleep=nap))
    expiry.refuse(lake, "acc", DAY, is_there=True)
    assert len(naps) == 3
    assert left(lake, "expiring") == []


def test_what_a_day_leans_on_stays_told(lake: Lake) -> None:
    """The expiry of a second day adds to what the first one's told."""
    days = [DAY, DAY + timedelta(days=1)]
    later = DAY + timedelta(days=2)
    for each in days:
        expiry.note_leaning(lake.storage, "acc", later, {each})
    assert expiry.leans_on(lake.storage, "acc", later) == {*days}


def test_only_an_accounts_own_intents_are_forgotten(lake: Lake) -> None:
    """Another account's expiry may be at work."""
    for account in ("acc", "other"):
        put(lake.storage, expiry.intent_key(DAY, account), b"")
    expiry.forget_intents(lake.storage, "acc")
    assert left(lake, "expiring") == [expiry.intent_key(DAY, "other")]


def test_an_intent_of_another_day_holds_nobody_up(lake: Lake) -> None:
    """Nor one of another account, even while their expiry is at work."""
    with lake.lock("compaction", "acc"), lake.lock("compaction", "other"):
        put(lake.storage, expiry.intent_key(DAY, "acc"), b"")
        put(lake.storage, expiry.intent_key(DAY + timedelta(days=2), "other"), b"")
        id_ = store(lake, "2 15:00", {"p": [node("a")]})
    assert id_ in lake.view().snapshot_ids


def test_an_expiry_that_lost_its_lock_marks_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of Blob may end while it looks: it ends, and the day is whole."""

    def lost(_: Any) -> None:
        raise Changed("the lease was lost: run the command again")

    monkeypatch.setattr("pipeline.storage.disk._Held.check", lost)
    with pytest.raises(Changed):
        expire(lake)
    assert left(lake, "expired") == left(lake, "expiring") == []
    assert Lake(lake.root).view().count == 6
