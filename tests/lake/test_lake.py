"""The lake on disk: what is visible when, how the disk is asked, and what if it refuses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import schema
from pipeline.flatten.columns import Origin
from pipeline.lake import (
    Lake,
    LakeError,
    Locked,
    Refused,
    date_of,
    is_snapshot_id,
    new_snapshot_id,
)
from pipeline.lake.watermark import raise_watermark
from pipeline.snapshot.ledger import Ledger

AT = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
NODES = pa.Table.from_pylist(
    [{"account": "a", "node_id": f"n{i}", "pool_id": "p"} for i in range(3)], schema.NODES.schema
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def ledger(snapshot_id: str) -> pa.Table:
    """A ledger row."""
    return Ledger(Origin("a", snapshot_id, AT), AT, "live", "account").table(AT)


def store(lake: Lake, snapshot_id: str | None = None) -> str:
    """A committed snapshot of three nodes."""
    snapshot_id = snapshot_id or new_snapshot_id(AT)
    with lake.writer(snapshot_id, "a") as writer:
        writer.write({"nodes": NODES})
        writer.commit(ledger(snapshot_id))
    return snapshot_id


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_time_and_show_their_date(one: datetime, other: datetime) -> None:
    """An id has the contract's form and the UTC date of its time; ids sort as their seconds do."""
    ids = [new_snapshot_id(at) for at in (one, other)]
    assert all(is_snapshot_id(each) for each in ids)
    assert [date_of(each) for each in ids] == [one.date(), other.date()]
    seconds = [at.replace(microsecond=0) for at in (one, other)]
    assert seconds[0] == seconds[1] or (ids[0] < ids[1]) == (seconds[0] < seconds[1])


def test_a_snapshot_lies_where_the_contract_says(lake: Lake) -> None:
    """landing/<table>/date=<UTC date>/<snapshot_id>.parquet, no file for a table without rows."""
    snapshot_id = store(lake)
    found = sorted(
        str(path.relative_to(lake.root))
        for path in lake.root.rglob("*")
        if path.is_file() and "locks" not in path.parts
    )
    assert found == [
        f"landing/{table}/date=2026-11-21/{snapshot_id}.parquet" for table in ("nodes", "snapshots")
    ]


def test_files_are_private(lake: Lake) -> None:
    """Files are 0600 and directories 0700: node history is no one else's business."""
    store(lake)
    with lake.lock("snapshot", "a"):
        modes = {
            (path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in lake.root.rglob("*")
        }
    assert modes == {(True, 0o700), (False, 0o600)}


def test_files_carry_the_schema_and_its_docs(lake: Lake) -> None:
    """Another Parquet reader finds the columns in the contract's order, each with its doc."""
    snapshot_id = store(lake)
    read = pq.read_schema(lake.path("nodes", snapshot_id))
    assert read.equals(schema.NODES.schema, check_metadata=False)
    assert (
        read.field("state").metadata[b"doc"] == schema.NODES.schema.field("state").metadata[b"doc"]
    )
    assert read.metadata[b"nodelake.schema_version"] == str(schema.SCHEMA_VERSION).encode()


def test_nothing_is_visible_before_the_commit(lake: Lake) -> None:
    """Written is not committed; leaving without a commit removes what was written."""
    snapshot_id = new_snapshot_id(AT)
    with lake.writer(snapshot_id, "a") as writer:
        writer.write({"nodes": NODES})
        assert lake.view().snapshot_ids == ()
    assert [path for path in lake.root.rglob("*") if path.is_file()] == []


def test_data_files_without_a_ledger_file_do_not_exist_for_a_reader(lake: Lake) -> None:
    """A snapshot that was killed before its commit may leave named data files: no one reads them."""
    snapshot_id = store(lake)
    lake.path("snapshots", snapshot_id).unlink()
    assert lake.view().files["nodes"] == ()
    kept = store(lake)
    assert lake.view().files["nodes"] == (str(lake.path("nodes", kept)),)


def test_other_files_in_the_lake_are_passed_over(lake: Lake) -> None:
    """An unexpected file, a foreign name and a staging file are no snapshots."""
    snapshot_id = store(lake)
    folder = lake.path("nodes", snapshot_id).parent
    for name in ("notes.txt", "x.parquet", f".{snapshot_id}.parquet.1.staging"):
        (folder / name).write_bytes(b"")
    (lake.root / "landing" / "nodes" / "lost+found").mkdir()
    assert len(lake.view().files["nodes"]) == 1


def test_a_lock_is_held_by_one_and_freed_by_the_kernel(lake: Lake) -> None:
    """Two kinds of work and two accounts do not meet; for a second taker the error names the owner."""
    with lake.lock("snapshot", "a"):
        with lake.lock("snapshot", "b"), lake.lock("compaction", "a"):
            pass
        with pytest.raises(Locked, match=f"pid {os.getpid()}"), lake.lock("snapshot", "a"):
            pass
    with lake.lock("snapshot", "a"):
        pass


@pytest.mark.parametrize("uri", ["s3://bucket/lake", "gs://bucket", "http://host/lake"])
def test_a_lake_elsewhere_is_refused_plainly(uri: str) -> None:
    """What this version cannot open it does not mistake for a directory."""
    with pytest.raises(LakeError, match="cannot be opened"):
        Lake(uri)


def test_a_file_uri_is_a_directory(tmp_path: Path) -> None:
    """file:///… is the same as the path."""
    assert Lake(f"file://{tmp_path}").root == tmp_path


def test_an_expired_day_takes_no_snapshot(lake: Lake) -> None:
    """A day that was given up stays given up."""
    snapshot_id = new_snapshot_id(AT)
    raise_watermark(lake.storage, "a", sealed_until=datetime(2026, 11, 22, tzinfo=UTC))
    with lake.writer(snapshot_id, "a") as writer, pytest.raises(Refused, match="expired"):
        writer.commit(ledger(snapshot_id))
    assert lake.view().snapshot_ids == ()


def test_rows_are_written_in_groups_and_all_arrive(lake: Lake) -> None:
    """Memory is bounded by a row group; what was gathered last is written with the commit."""
    snapshot_id = new_snapshot_id(AT)
    many = pa.concat_tables([NODES] * 1000)
    with lake.writer(snapshot_id, "a") as writer:
        for _ in range(12):
            writer.write({"nodes": many})
        writer.commit(ledger(snapshot_id))
        assert writer.rows["nodes"] == 36_000
    written = pq.read_metadata(lake.path("nodes", snapshot_id))
    assert written.num_rows == 36_000
    assert written.num_row_groups == 2


def test_a_few_rows_of_each_page_do_not_hold_the_pages(lake: Lake) -> None:
    """What waits for its row group is copied now and then: a slice keeps all it was cut out of."""
    snapshot_id = new_snapshot_id(AT)
    many = pa.concat_tables([NODES] * 100)
    before = pa.total_allocated_bytes()
    with lake.writer(snapshot_id, "a") as writer:
        for _ in range(200):
            page = many.combine_chunks()
            size = page.nbytes
            writer.write({"nodes": page.slice(150, 2)})
        del page
        assert pa.total_allocated_bytes() - before < 25 * size
        writer.commit(ledger(snapshot_id))
    assert pq.read_metadata(lake.path("nodes", snapshot_id)).num_rows == 400


class Disk:
    """Counts and orders what the disk is asked, and refuses at the n-th question."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuse_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.refuse_at = refuse_at
        self._watch(monkeypatch, os, "open", lambda path, *rest: f"open {Path(path).name}")
        self._watch(monkeypatch, os, "fsync", self._fsync)
        self._watch(monkeypatch, Path, "replace", lambda path, to: f"rename {to.parts[-3]}")
        self._watch(monkeypatch, Path, "mkdir", lambda path, **rest: f"mkdir {path.name}")

    def _fsync(self, handle: int) -> str:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        return f"sync {path.parts[-2]}/" if path.is_dir() else f"sync {path.parts[-3]}"

    def _watch(
        self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, told: Callable[..., str]
    ) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.refuse_at is not None and len(self.calls) == self.refuse_at:
                self.refuse_at = None
                self.calls.append("refused")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.calls.append(told(*args, **kwargs))
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)


def test_data_reaches_the_disk_before_the_ledger_does(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sync, rename, sync of the directory: first for every data file, then for the ledger file."""
    store(lake)  # the directories are there
    disk = Disk(monkeypatch)
    store(lake)
    order = [call for call in disk.calls if call.startswith(("sync", "rename"))]
    assert order == [
        "sync nodes",
        "rename nodes",
        "sync nodes/",
        "sync snapshots",
        "rename snapshots",
        "sync snapshots/",
    ]


def test_a_full_disk_at_any_moment_leaves_whole_snapshots_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses at the n-th call, for all n: a clear error, no half snapshot, the next works."""
    with monkeypatch.context() as patched:
        disk = Disk(patched)
        store(Lake(tmp_path / "counted"))
    for at in range(len(disk.calls)):
        lake = Lake(tmp_path / f"refused-{at}")
        with monkeypatch.context() as patched:
            Disk(patched, refuse_at=at)
            with pytest.raises(LakeError, match="the disk is full: make room"):
                store(lake)
        view = lake.view()
        # visible only if it was the very last sync that failed: then it is whole
        assert len(view.files["nodes"]) == len(view.snapshot_ids)
        assert [*lake.root.rglob("*.staging")] == []
        store(lake)
        assert len(lake.view().snapshot_ids) == len(view.snapshot_ids) + 1


def test_a_lake_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A file in the place of the lake is named, with what to do."""
    (tmp_path / "lake").touch()
    with pytest.raises(LakeError, match="choose another --lake"):
        store(Lake(tmp_path / "lake"))


def test_a_writer_that_is_let_go_while_others_write(lake: Lake) -> None:
    """A second Ctrl-C does not wait for the threads: they end in peace, and leave no file."""
    rows = pa.Table.from_pylist([{"node_id": "n"}] * 20_000, schema.TABLES["nodes"].schema)
    writer = lake.writer(new_snapshot_id(datetime.now(UTC)), "acc")
    with ThreadPoolExecutor(2) as threads:
        writing = [threads.submit(writer.write, {"nodes": rows}) for _ in range(8)]
        writing[0].result()
        writer.discard()
        assert [each.result() for each in writing] == [None] * 8
    assert [path for path in lake.root.rglob("*") if path.is_file()] == []
    assert writer.rows["nodes"] == 0
