"""Compaction and expiry, killed after every single thing they ask of the storage: the same answers."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.lake import Lake, LakeError
from pipeline.maintain import compaction
from pipeline.maintain.expiry import expire
from pipeline.storage import Entry, Found, Given, Lock, Over, Sink
from pipeline.storage.disk import Disk
from tests.days import ACCOUNT, DAY, LATER, NOON, expected, seen, store, store_days
from tests.maintain.test_compact import Facts

TOMORROW = timedelta(days=2)


class Killed(BaseException):
    """The process is no more: nothing of it runs on, no clean-up either."""


class Failing:
    """A storage that works so many times, and then never again; says what it was asked.

    ``error``: what it raises; ``after`` is called when an operation is done.
    """

    missed = 0

    def __init__(
        self,
        storage: Disk,
        times: int | None = None,
        *,
        error: Callable[[], BaseException] = Killed,
        after: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.storage = storage
        self.left = times
        self.error = error
        self.after = after
        self.calls: list[str] = []

    def asked(self, what: str, does: Callable[[], Any]) -> Any:
        """Does it, or fails."""
        self.calls.append(what)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise self.error()
        result = does()
        self.after(what)
        return result

    @property
    def root(self) -> Path:
        """The directory."""
        return self.storage.root

    def url(self, key: str) -> str:
        """No operation."""
        return self.storage.url(key)

    def register(self, connection: Any) -> None:
        """No operation."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """One operation."""
        found: list[Entry] = self.asked(f"list {prefix}", lambda: [*self.storage.list(prefix)])
        return iter(found)

    def entries(self, folder: str, keys: Collection[str]) -> Iterator[Entry]:
        """One operation."""
        found: list[Entry] = self.asked(
            f"entries {folder}", lambda: [*self.storage.entries(folder, keys)]
        )
        return iter(found)

    def many(self, read: Callable[[Given], Found], things: Iterable[Given]) -> Iterator[Found]:
        """What each of them is."""
        return map(read, things)

    def leftovers(self) -> Iterator[Entry]:
        """One operation."""
        found: list[Entry] = self.asked("leftovers", lambda: [*self.storage.leftovers()])
        return iter(found)

    def find(self, key: str) -> Entry | None:
        """One operation."""
        entry: Entry | None = self.asked(f"find {key}", lambda: self.storage.find(key))
        return entry

    def open(self, key: str) -> Any:
        """One operation."""
        return self.asked(f"open {key}", lambda: self.storage.open(key))

    def sink(self, key: str, over: Over = "anything") -> Sink:
        """One operation, and one when it is finished."""
        return FailingSink(
            self, key, self.asked(f"sink {key}", lambda: self.storage.sink(key, over))
        )

    def delete(self, entry: Entry, *, durable: bool = True) -> bool:
        """One operation."""
        found: bool = self.asked(
            f"delete {entry.key}", lambda: self.storage.delete(entry, durable=durable)
        )
        return found

    def lock(self, name: str) -> contextlib.AbstractContextManager[Lock]:
        """One operation."""
        held: contextlib.AbstractContextManager[Lock] = self.asked(
            f"lock {name}", lambda: self.storage.lock(name)
        )
        return held


class FailingSink:
    """A file of a failing storage."""

    def __init__(self, failing: Failing, key: str, sink: Any) -> None:
        self.failing = failing
        self.key = key
        self.sink = sink
        self.file = sink.file

    def finish(self) -> Entry:
        """One operation."""
        entry: Entry = self.failing.asked(f"put {self.key}", self.sink.finish)
        return entry

    def discard(self) -> None:
        """A killed process discards nothing: its staging file stays."""
        if self.failing.error is Killed and (self.failing.left or 0) < 0:
            self.file.close()  # as the kernel does
        else:
            self.sink.discard()


def globbed(root: Path) -> None:
    """Checks that plain Hive globs over compacted and history hold no row twice, and none torn."""
    for zone in ("compacted", "history"):
        for table in (root / zone).glob("*"):
            if not [*table.rglob("*.parquet")]:
                continue
            whole = pq.ParquetDataset(table).read().to_pylist()  # type: ignore[no-untyped-call]
            assert len({str(row) for row in whole}) == len(whole)


def make_lake(root: Path) -> tuple[Lake, list[str]]:
    """A lake with a closed day whose history is made, a late snapshot of it, and an open day."""
    lake = Lake(root)
    ids = store_days(lake, days=1, each=2)
    compaction.compact(lake, clock=lambda: LATER, history=Facts(), grace=timedelta(0))
    ids.append(store(lake, NOON))
    ids += [store(lake, NOON + timedelta(days=1, minutes=i)) for i in range(2)]
    torn = lake.path("nodes", ids[0]).with_name("20261118T010203Z-00000000.parquet")
    torn.parent.mkdir(parents=True, exist_ok=True)
    torn.write_bytes(lake.path("nodes", ids[-1]).read_bytes())  # an orphan
    return lake, ids


def compacted(lake: Lake) -> None:
    """One compaction that has all there is to do: close, late, history, sweep, orphans."""
    compaction.compact(
        lake,
        clock=lambda: LATER,
        file_clock=lambda: datetime.now(UTC) + TOMORROW,
        history=Facts(),
        grace=timedelta(0),
    )


def copied(source: Path, target: Path) -> Path:
    """A lake as it is at this moment; finished files are shared, for they never change."""

    def copy(name: str, to: str) -> None:
        (shutil.copy2 if name.endswith(".staging") else os.link)(name, to)

    shutil.copytree(source, target, copy_function=copy)
    return target


def counted(lake: Lake) -> list[tuple[str, str, int]]:
    """Everything a reader of the view's files counts, as ``expected`` has it; no DuckDB, for speed."""
    found: Counter[tuple[str, str]] = Counter()
    nodes = set()
    for table, files in lake.view().files.items():
        for file in files:
            rows = pq.ParquetFile(file).read().to_pylist()
            found.update(
                ("rows of nodes" if table == "nodes" else table, r["snapshot_id"]) for r in rows
            )
            nodes |= {(r["snapshot_id"], r["node_id"]) for r in rows if table == "nodes"}
    found.update(("nodes", id_) for id_, _ in nodes)
    return sorted((name, id_, n) for (name, id_), n in found.items())


def answers(ids: list[str]) -> list[tuple[str, str, int]]:
    """What ``counted`` has to say of a lake with these snapshots."""
    return [(name, id_, n) for name, id_, _, n in expected(ids)]


def states(lake: Lake, folder: Path, does: Callable[[Lake], None]) -> Iterator[tuple[str, Path]]:
    """The lake after each operation of one run that changed something, as a kill would leave it.

    What is on the disk after the n-th operation does not depend on whether there is an n+1-th.
    """
    folder.mkdir()
    made: list[tuple[str, Path]] = []
    last: list[list[tuple[str, int]]] = [[]]

    def keep(what: str) -> None:
        state = sorted((str(path), path.stat().st_ino) for path in lake.root.rglob("*"))
        if state != last[0]:
            last[0] = state
            made.append((what, copied(lake.root, folder / str(len(made)))))

    does(Lake(lake.root, Failing(Disk(lake.root), after=keep)))
    yield from made


def check_after_a_kill(what: str, root: Path, ids: list[str]) -> None:
    """The answers are the same after the kill, and after the compaction that follows."""
    answer = answers(ids)
    assert counted(Lake(root)) == answer, what
    globbed(root)
    compacted(Lake(root))
    assert counted(Lake(root)) == answer, what
    globbed(root)
    view = Lake(root).view()
    assert len(view.compacted) == len(view.history_days) == 2, what
    left = [path for path in root.rglob("*") if path.suffix in (".parquet", ".staging")]
    assert not [path for path in left if "landing" in path.parts or path.suffix == ".staging"], what


def test_compaction_killed_after_every_operation(tmp_path: Path, whole: bool) -> None:
    """Answers are the same before, after, and after the next compaction; globs are never torn.

    The short form looks after every sixth operation.
    """
    lake, ids = make_lake(tmp_path / "lake")
    assert seen(lake) == expected(ids)
    met = []
    for what, root in states(lake, tmp_path / "states", compacted):
        if whole or len(met) % 6 == 0:
            check_after_a_kill(what, root, ids)
        met.append(what.split(" ")[0])
    assert set(met) >= {"sink", "put", "delete"}
    assert len(met) > 30
    assert seen(lake) == expected(ids)


@pytest.mark.long
def test_compaction_dead_at_every_operation(tmp_path: Path) -> None:
    """The same, with a run of its own for each operation, reads included."""
    lake, ids = make_lake(tmp_path / "lake")
    told = Failing(Disk(copied(lake.root, tmp_path / "counted")))
    compacted(Lake(tmp_path / "counted", told))
    for times in range(len(told.calls)):
        root = copied(lake.root, tmp_path / f"killed-{times}")
        with contextlib.suppress(Killed):
            compacted(Lake(root, Failing(Disk(root), times)))
        check_after_a_kill(told.calls[times], root, ids)
        shutil.rmtree(root)


def test_a_disk_that_refuses_any_write_ends_clearly(tmp_path: Path) -> None:
    """Each refusal is an error that says what to do; no staging file stays; the next run goes on."""
    lake, ids = make_lake(tmp_path / "lake")
    told = Failing(Disk(copied(lake.root, tmp_path / "counted")))
    compacted(Lake(tmp_path / "counted", told))
    writes = [n for n, call in enumerate(told.calls) if call.startswith(("put", "delete", "sink"))]
    for times in writes[::3]:
        root = copied(lake.root, tmp_path / f"refused-{times}")
        error = LakeError("/lake/file: the disk is full: make room")
        with pytest.raises(LakeError, match="make room"):
            compacted(Lake(root, Failing(Disk(root), times, error=lambda error=error: error)))
        assert counted(Lake(root)) == answers(ids)
        assert not [*root.rglob("*.staging")]


def history_is_right(lake: Lake) -> bool:
    """Whether every history file that a reader takes for current holds what its day's rows say."""
    view = lake.view()
    for _, day in view.history_days:
        path = lake.root / f"history/seen_around/date={day}/{ACCOUNT}.parquet"
        held = pq.read_table(path, partitioning=None)["snapshot_id"].to_pylist()
        around = [
            id_
            for id_ in view.snapshot_ids
            if abs((datetime.strptime(id_[:8], "%Y%m%d").replace(tzinfo=UTC).date() - day).days)
            <= 1
        ]
        if held != around:
            return False
    return True


def test_no_history_is_stale_after_a_kill_and_the_next_compaction(tmp_path: Path) -> None:
    """Killed between a late file's commit and its neighbours' history: the next run makes it."""
    lake = Lake(tmp_path / "lake")
    ids = store_days(lake, days=3, each=1)
    compaction.compact(lake, clock=lambda: LATER, history=Facts(), grace=timedelta(0))
    ids.append(store(lake, NOON))
    for what, root in states(lake, tmp_path / "states", compacted):
        compacted(Lake(root))
        assert history_is_right(Lake(root)), what
        assert len(Lake(root).view().history_days) == 3, what
        assert counted(Lake(root)) == answers(ids), what


def test_expiry_killed_after_every_operation(tmp_path: Path, whole: bool) -> None:
    """A day is there whole or given up whole, and the next expiry ends what was begun.

    The short form looks after every third operation.
    """
    lake = Lake(tmp_path / "lake")
    ids = sorted(store_days(lake, days=2, each=2))
    compaction.compact(lake, clock=lambda: LATER, history=Facts(), grace=timedelta(0))

    def expired(at: Lake) -> None:
        expire(at, today=DAY + timedelta(days=11), compacted_days=10, history=Facts())

    for what, root in islice(
        states(lake, tmp_path / "states", expired), 0, None, 1 if whole else 3
    ):
        assert counted(Lake(root)) in (answers(ids), answers(ids[2:])), what
        globbed(root)
        expired(Lake(root))
        assert counted(Lake(root)) == answers(ids[2:]), what
        assert not [*(root / "compacted").rglob("*2026-11-18/*")], what
    assert counted(lake) == answers(ids[2:])


def test_a_compaction_syncs_in_the_order_of_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file: synced, renamed, its directory synced; the ledger after the data, manifests last."""
    lake = Lake(tmp_path / "lake")
    store_days(lake, days=1, each=1)
    calls: list[str] = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def name(path: Path) -> str:
        where = path if path.is_dir() else path.parent
        return f"{where.parts[-3]}/{where.parts[-2]}" + ("/" if path.is_dir() else "")

    def synced(handle: int) -> None:
        calls.append(f"sync {name(Path(f'/proc/self/fd/{handle}').readlink())}")
        fsync(handle)

    def renamed(path: Path, to: Path) -> Path:
        calls.append(f"rename {name(to)}")
        return replace(path, to)

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        calls.append(f"delete {name(path)}")
        unlink(path, missing_ok)

    for owner, what, does in (
        (os, "fsync", synced),
        (Path, "replace", renamed),
        (Path, "unlink", unlinked),
    ):
        monkeypatch.setattr(owner, what, does)
    compaction.compact(lake, clock=lambda: LATER, history=Facts(), grace=timedelta(0))
    wanted = [
        step
        for place in (
            *(f"compacted/{table}" for table in ("pools", "nodes", "recent_tasks", "snapshots")),
            "history/seen_around",
            "history/manifests",
        )
        for step in (f"sync {place}", f"rename {place}", f"sync {place}/")
    ]
    places = {step.split(" ")[1].rstrip("/") for step in wanted}
    order = [
        call
        for call in calls
        if call.split(" ")[1].rstrip("/") in places and not call.startswith("delete")
    ]
    # making a directory syncs its parent first; the last sync of a place is that of its new name
    assert [call for call in order if call in wanted] == [*wanted]
    deleted = [call for call in calls if call.startswith("delete landing")]
    assert deleted == [
        f"delete landing/{table}" for table in ("snapshots", "pools", "nodes", "recent_tasks")
    ]
    assert calls.index("delete landing/snapshots") > calls.index("rename history/manifests")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction without room says which file, and what to do; answers stay; nothing is left."""
    lake = Lake(tmp_path / "lake")
    ids = store_days(lake, days=1)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(LakeError, match=r"compacted.*: the disk is full: make room"):
            compaction.compact(lake, clock=lambda: LATER)
    assert seen(lake) == expected(ids)
    assert not [*lake.root.rglob("*.staging")]


def test_the_day_of_these_tests_is_closed() -> None:
    """Only then do they show anything."""
    assert date(2026, 11, 18) == DAY
    assert compaction.closes_at(DAY + timedelta(days=2)) < LATER
