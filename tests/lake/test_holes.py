"""Ways in which rows were once wrong without a word: each is closed, and tried."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import cli, query
from pipeline.lake import Changed, Lake, LakeError, new_snapshot_id
from pipeline.lake.paths import manifest_key
from pipeline.maintain import compaction
from pipeline.storage import put as put_file
from pipeline.storage.disk import Disk
from tests.conftest import PROJECT
from tests.days import DAY, LATER, NOON, NoFacts, expected, seen, store, store_days
from tests.lakes import MONDAY, node, put

MONDAY_DATE = MONDAY.date()


class Hooked(Disk):
    """A disk on which something else happens just before some operation, once."""

    def __init__(self, root: Path, operation: str, part: str, then: Callable[[], Any]) -> None:
        super().__init__(root)
        self.operation, self.part = operation, part
        self.then: Callable[[], Any] | None = then

    def _before(self, operation: str, key: str) -> None:
        if operation == self.operation and self.part in key and self.then:
            then, self.then = self.then, None
            then()

    def delete(self, entry: Any, *, durable: bool = True) -> bool:
        """Something else happens, then it goes."""
        self._before("delete", entry.key)
        return super().delete(entry, durable=durable)

    def sink(self, key: str, over: Any = "anything") -> Any:
        """Something else happens, then it is begun."""
        self._before("put", key)
        return super().sink(key, over)


def compact(lake: Lake, **given: Any) -> compaction.Report:
    """Long after everything."""
    return compaction.compact(lake, **({"clock": lambda: LATER, "history": NoFacts()} | given))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty one."""
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of history, and one in landing."""
    lake = Lake(tmp_path_factory.mktemp("made") / "lake")
    for when in ("0 03:00", "0 21:00", "1 03:00"):
        put(lake, when, {"p": [node("a"), node("b")]})
    for _ in range(2):
        compaction.compact(
            lake,
            clock=lambda: MONDAY + timedelta(days=2, hours=12),
            file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
            grace=timedelta(0),
        )
    put(lake, "2 03:00", {"p": [node("a")]})
    put(lake, "2 21:00", {"p": [node("a")]})
    return lake.root


# --- deletes ---


def test_a_delete_is_of_the_version_that_was_seen(lake: Lake) -> None:
    """Another file of that name stays."""
    first = put_file(lake.storage, "landing/x", b"1")
    second = put_file(lake.storage, "landing/x", b"2")
    assert not lake.storage.delete(first)
    assert lake.storage.find("landing/x") == second
    assert lake.storage.delete(second)
    assert not lake.storage.delete(second)


def test_an_orphan_that_an_import_writes_anew_is_not_swept(tmp_path: Path) -> None:
    """A sweep finds the data of a dead import; the import runs again before it deletes."""
    root = tmp_path / "lake"
    store(Lake(root), account="other")
    dead = store(Lake(root), digits="deadbeef")
    Lake(root).path("snapshots", dead).unlink()
    again: list[str] = []
    storage = Hooked(
        root,
        "delete",
        f"{dead}.parquet",
        lambda: again.append(store(Lake(root), digits="deadbeef")),
    )
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    compact(Lake(root, storage), clock=lambda: NOON, file_clock=lambda: tomorrow)
    assert again == [dead]
    assert (dead, 4) in [(id_, n) for _, id_, _, n in seen(Lake(root)) if n == 4]


def test_an_import_whose_data_a_sweep_deleted_is_not_stored(tmp_path: Path) -> None:
    """Between its data and its ledger file: it is withdrawn, and says to run again."""
    root = tmp_path / "lake"
    id_ = new_snapshot_id(NOON, "0badf00d")

    def sweep() -> None:
        Lake(root).path("nodes", id_).unlink()

    storage = Hooked(root, "put", "landing/snapshots", sweep)
    with pytest.raises(Changed, match=f"{id_}.parquet: deleted by another run: run the command"):
        store(Lake(root, storage), digits="0badf00d")
    assert not [*root.rglob("landing/*/*/*.parquet")]


# --- one snapshot's rows twice ---


def test_a_commit_over_another_compactions_data_counts_no_row_twice(tmp_path: Path) -> None:
    """It was suspended between its check of the versions and its commit, and had lost its lock."""
    root = tmp_path / "lake"
    ids = store_days(Lake(root), days=1, each=2)

    def rival() -> None:
        (root / "locks" / "compaction-render.westeurope.lock").unlink()
        ids.append(store(Lake(root)))
        rivals = Hooked(root, "put", "compacted/snapshots", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # killed before its own commit
            compact(Lake(root, rivals))

    storage = Hooked(root, "put", "compacted/snapshots", rival)
    plain = compaction.DayFile

    class Unlocked(plain):  # type: ignore[valid-type,misc]
        """The check of the lock came before."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.storage.disk._FileLock.check", lambda _: None)
        compact(Lake(root, storage))
    assert [*root.glob("compacted/snapshots/*/*")] != []
    assert seen(Lake(root)) == expected(ids)
    assert compact(Lake(root)).snapshots == 3
    assert seen(Lake(root)) == expected(ids)
    assert compact(Lake(root), grace=timedelta(0)).swept == 3
    assert seen(Lake(root)) == expected(ids)


def test_landing_is_not_swept_while_data_is_missing(lake: Lake) -> None:
    """What a ledger file commits has to be there first."""
    ids = store_days(lake, days=1, each=2)
    compact(lake)
    (lake.root / f"compacted/nodes/date={DAY}/render.westeurope.parquet").unlink()
    report = compact(Lake(lake.root), grace=timedelta(0))
    assert report.snapshots == 2  # landing had all: the day was closed again
    assert seen(Lake(lake.root)) == expected(ids)


# --- files that were copied, moved or swapped ---


def answered(root: Path) -> list[Any]:
    """Rows and facts."""
    with query.connect(root) as connection:
        return [
            connection.table(f"select count(*) as n from {name}").to_pylist()
            for name in ("snapshots", "nodes", "node_hours")
        ]


def _copy_landing(root: Path) -> Path:
    (file, *_) = sorted(root.glob("landing/snapshots/*/*"))
    return Path(shutil.copy(file, file.with_name(f"{file.stem[:-8]}ffffffff.parquet")))


def _misplace_landing(root: Path) -> Path:
    (file, *_) = sorted(root.glob("landing/snapshots/*/*"))
    other = file.parent.with_name("date=2026-11-19") / file.name
    other.parent.mkdir()
    return Path(shutil.copy(file, other))


def _swap(first: Path, second: Path) -> Path:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    return first


def _swap_manifests(root: Path) -> Path:
    return _swap(*sorted(root.glob("history/manifests/*/*"))[:2])


def _swap_ledgers(root: Path) -> Path:
    return _swap(*sorted(root.glob("compacted/snapshots/*/*"))[:2])


def _copy_day(root: Path) -> Path:
    (file, *_) = sorted(root.glob("compacted/snapshots/*/acc.parquet"))
    other = file.parent.with_name("date=2026-11-19") / file.name
    other.parent.mkdir()
    return Path(shutil.copy(file, other))


def _copy_manifest(root: Path) -> Path:
    (file, *_) = sorted(root.glob("history/manifests/*/*"))
    return Path(shutil.copy(file, file.with_name("other.json")))


@pytest.mark.parametrize(
    "change",
    [
        _copy_landing,
        _misplace_landing,
        _swap_manifests,
        _swap_ledgers,
        _copy_day,
        _copy_manifest,
    ],
    ids=lambda change: change.__name__.strip("_"),
)
def test_a_file_that_is_not_what_its_name_says_is_named(
    made: Path,
    tmp_path: Path,
    change: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By queries, with exit 1; what it holds is not counted, and all is well once it has gone."""
    root = shutil.copytree(made, tmp_path / "lake")
    named = change(root)
    with pytest.raises(LakeError, match=f"{named}: .*: a copy, or renamed"):
        answered(root)
    assert cli.run(["sql", "select count(*) from nodes", "--lake", str(root)]) == 1
    assert str(named) in capsys.readouterr().err
    if "copy" in change.__name__ or "misplace" in change.__name__:
        named.unlink()
        assert answered(root) == answered(made)


@pytest.mark.parametrize("account", ["../../x", "x.staging", "a-late-20260101T050000Z-12345678"])
def test_an_account_that_is_no_label_becomes_no_path(
    lake: Lake, account: str, tmp_path: Path
) -> None:
    """A ledger file may come from anywhere: its day stays open and the file is named."""
    id_ = store(lake, account="acc")
    path = lake.path("snapshots", id_)
    rows = pq.read_table(path, partitioning=None)
    names = rows.schema.names
    changed = rows.set_column(names.index("account"), rows.schema.field("account"), [[account]])
    path.unlink()
    pq.write_table(changed, path)
    report = compact(Lake(lake.root))
    assert (report.days, report.exit_code) == (0, 3)
    assert f"{path}: not one ledger row of an account" in report.open_days[0]
    assert sorted(tmp_path.iterdir()) == [lake.root]
    assert not [*lake.root.glob("compacted/*")]


# --- bit rot ---


def test_every_page_has_a_checksum_and_a_flip_is_named(made: Path, tmp_path: Path) -> None:
    """In any file, by a deep check: no flip changes a row unseen."""
    chance = random.Random(7)
    files = [path.relative_to(made) for path in sorted(made.rglob("*.parquet"))]
    files = [path for path in files if pq.read_metadata(made / path).num_rows]
    assert len(files) > 20
    unseen = []
    for number in range(60):
        root = shutil.copytree(made, tmp_path / str(number))
        path = root / chance.choice(files)
        data = bytearray(path.read_bytes())
        # pages: between the first magic and the footer, whose length is before the last magic
        pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        at = chance.randrange(4, pages)
        data[at] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        if not any(str(path) in str(error) for error in Lake(root).deep_damage()):
            whole = pq.read_table(made / path.relative_to(root), partitioning=None)
            if not whole.equals(pq.read_table(path, partitioning=None), check_metadata=True):
                unseen.append((path, at))
        shutil.rmtree(root)
    assert unseen == []


def test_a_compaction_does_not_take_a_damaged_page(lake: Lake) -> None:
    """The day stays open, the file is named; once it is back the day closes."""
    ids = store_days(lake, days=1, each=2)
    path = lake.path("nodes", ids[0])
    kept = path.read_bytes()
    metadata = pq.read_metadata(path)
    column = metadata.row_group(0).column(metadata.schema.names.index("node_id"))
    data = bytearray(kept)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    path.write_bytes(data)
    report = compact(Lake(lake.root))
    assert (report.days, report.exit_code) == (0, 3)
    assert str(path) in report.open_days[0]
    path.write_bytes(kept)
    assert compact(Lake(lake.root)).days == 1


@pytest.mark.parametrize("how", ["cut", "zeros"])
def test_a_query_names_the_file_that_it_cannot_read(
    made: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever DuckDB says of it; with what to do, exit 1, no traceback."""
    root = shutil.copytree(made, tmp_path / "lake")
    path = next(iter(root.glob("compacted/nodes/*/acc.parquet")))
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(len(data) - 4) if how == "zeros" else data[:-9] + bytes(9))
    assert cli.run(["sql", "select max(node_id) from nodes", "--lake", str(root)]) == 1
    said = capsys.readouterr().err
    assert str(path) in said
    assert "restore it from a backup" in said
    assert "Traceback" not in said


def test_a_deep_check_reads_every_byte(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 on a whole lake, 5 with the files named; manifests that are missing too."""
    root = shutil.copytree(made, tmp_path / "lake")
    assert cli.run(["check", "--deep", "--lake", str(root)]) == 0
    path = root / "history/node_states" / f"date={MONDAY_DATE}/acc.parquet"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    (root / manifest_key(MONDAY_DATE + timedelta(days=1), "acc")).unlink()
    assert cli.run(["check", "--deep", "--lake", str(root)]) == 5
    said = capsys.readouterr().err
    assert str(path) in said
    assert f"history/manifests/date={MONDAY_DATE + timedelta(days=1)}/acc.json" in said


# --- clocks and memory ---


def test_a_clock_that_is_a_day_ahead_deletes_nothing_early(lake: Lake) -> None:
    """Ages are of the store's own times, not of this machine's clock."""
    ids = store_days(lake, days=1, each=2)
    compact(lake, clock=lambda: datetime.now(UTC) + timedelta(days=1))
    assert len(lake.landed("snapshots")) == 2
    assert compact(lake, grace=timedelta(minutes=60)).swept == 0
    os.utime(lake.root / f"compacted/snapshots/date={DAY}/render.westeurope.parquet", (1, 1))
    assert compact(lake, grace=timedelta(minutes=60)).swept == 2
    assert seen(lake) == expected(ids)


def test_the_lock_shows_the_stores_time(lake: Lake) -> None:
    """It is later than that of what was put before, and it goes on."""
    with lake.lock("compaction", "a") as lock:
        entry = put_file(lake.storage, "landing/x", b"1")
        assert entry.modified <= lock.now() <= lock.now()


def test_a_day_that_memory_does_not_hold_says_what_to_do(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays open, exit 3, no traceback; the next run with more memory closes it."""
    ids = store_days(lake, days=1, each=2)

    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.lake.day_file.read", full)
        report = compact(lake)
    assert (report.days, report.exit_code) == (0, 3)
    assert "not enough memory: give the process 3 GB" in report.open_days[0]
    assert compact(lake).days == 1
    assert seen(lake) == expected(ids)


def test_a_query_without_memory_says_so(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, whichever library had none left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "view", lambda _: (_ for _ in ()).throw(MemoryError()))
        assert cli.run(["sql", "select 1", "--lake", str(made)]) == 1
    said = capsys.readouterr().err
    assert "not enough memory" in said
    assert "Traceback" not in said


# --- what is no file, and who else may write ---


def test_a_lock_that_is_a_link_is_refused_and_left(lake: Lake, tmp_path: Path) -> None:
    """Its target is neither locked nor emptied."""
    target = tmp_path / "precious"
    target.write_text("kept")
    (lake.root / "locks").mkdir(parents=True)
    for name in ("compaction-a.lock", "names.lock"):
        (lake.root / "locks" / name).symlink_to(target)
    with pytest.raises(LakeError, match="a symbolic link where a lock must be: delete it"):
        lake.lock("compaction", "a").__enter__()
    with pytest.raises(LakeError, match="a symbolic link where a lock must be"):
        store(lake)
    assert target.read_text() == "kept"


def test_a_lock_that_is_a_pipe_is_refused(lake: Lake) -> None:
    """Opening one would wait for ever."""
    (lake.root / "locks").mkdir(parents=True)
    os.mkfifo(lake.root / "locks" / "compaction-a.lock")
    with pytest.raises(LakeError, match="not a regular file where a lock must be"):
        lake.lock("compaction", "a").__enter__()


def test_a_pipe_in_a_lake_holds_no_one_up(made: Path, tmp_path: Path) -> None:
    """In any zone, under any name: it is no file of the lake; in a file's stead it is missing."""
    root = shutil.copytree(made, tmp_path / "lake")
    for name in (
        "landing/nodes/date=2026-11-18/pipe.parquet",
        "landing/snapshots/date=2026-11-18/20261118T000000Z-0000aaaa.parquet",
        "compacted/nodes/date=2026-11-16/pipe.parquet",
        "compacted/snapshots/date=2026-11-18/acc.parquet",
        "expired/pipe.parquet",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(root / name)
    code = (
        "import sys; from tests.lake.test_holes import answered, Path; "
        "print(answered(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == str(answered(made))
    path = root / f"compacted/nodes/date={MONDAY_DATE}/acc.parquet"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LakeError, match=f"{path}: the file is missing"):
        answered(root)


@pytest.mark.parametrize(
    ("mode", "is_own_group", "who"),
    [
        (0o777, True, "every user of this machine"),
        (0o1777, True, "every user of this machine"),
        (0o775, False, "every user of the group 4321"),
        (0o770, True, None),
        (0o755, False, None),
        (0o700, False, None),
    ],
)
def test_a_lake_that_others_may_write_to_is_said_to_be(
    made: Path,
    tmp_path: Path,
    mode: int,
    is_own_group: bool,
    who: str | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once a run, also with the sticky bit: who may add files may add snapshots."""
    root = shutil.copytree(made, tmp_path / "lake")
    root.chmod(mode)
    real = Path.stat

    def stat(path: Path, **more: bool) -> os.stat_result:
        found = real(path, **more)
        if path != root:
            return found
        values = [*found]
        values[5] = found.st_uid if is_own_group else 4321
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", stat)
    answered(root)
    said = [each for each in caplog.messages if "may write here" in each]
    wanted = f"{root}: {who} may write here, and so change the record: chmod go-w {root}"
    assert said == ([] if who is None else [wanted])


# --- the old layout ---


@pytest.mark.parametrize(
    "name",
    [
        "expired/date=2026-11-16/acc",
        "history/days/date=2026-11-16/acc.parquet",
        "leaning/date=2026-11-17/acc",
        "expiring/date=2026-11-17/acc",
    ],
)
@pytest.mark.parametrize(
    "command",
    [["sql", "from nodes"], ["compact"], ["expire", "--compacted", "9"], ["status"], ["check"]],
    ids=lambda command: command[0],
)
def test_a_lake_of_the_old_layout_is_named_as_such(
    tmp_path: Path, name: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, with what to do."""
    path = tmp_path / "lake" / name
    (tmp_path / "lake/landing/snapshots").mkdir(parents=True)
    path.parent.mkdir(parents=True)
    path.touch()
    assert cli.run([*command, "--lake", str(tmp_path / "lake")]) == 2
    said = capsys.readouterr().err
    assert f"{path}: an older nodelake wrote this lake" in said
    assert "rebuild it, or import" in said


def test_nothing_is_written_into_a_lake_of_the_old_layout(tmp_path: Path) -> None:
    """Its expired days would be taken for days that are there."""
    (tmp_path / "lake/expired/date=2026-11-16").mkdir(parents=True)
    (tmp_path / "lake/expired/date=2026-11-16/acc").touch()
    with pytest.raises(LakeError, match="an older nodelake wrote this lake"):
        store(Lake(tmp_path / "lake"))
