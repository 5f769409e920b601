"""A lake on Azure Blob, against Azurite: the same protocol, leases, conditions, ranges, no secret."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import query
from pipeline.cli import run
from pipeline.lake import Lake, LakeError, Locked, table_file
from pipeline.maintain import compaction
from pipeline.storage import Changed, Missing, NoContainer, Storage, blob, open_storage, put, rest
from tests.azurite import KEY, Azurite, azurite
from tests.days import ACCOUNT, LATER, NOON, expected, seen, store, store_days

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One Azurite for all tests here."""
    with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def uri(server: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty lake; the environment leads to it."""
    name = f"lake{next(_numbers)}"
    server.make_container(name)
    for key, value in server.settings.items():
        monkeypatch.setenv(key, value)
    return f"az://{name}/some/prefix"


@pytest.fixture
def storage(uri: str) -> Storage:
    """The storage below that URI."""
    return open_storage(uri)


def compact(lake: Lake, **parameters: Any) -> compaction.Report:
    """A compaction long after the days of these lakes."""
    return compaction.compact(lake, **({"clock": lambda: LATER} | parameters))


def test_a_lake_on_blob_is_a_lake(uri: str) -> None:
    """Snapshots, queries, day files, late files, sweeping: every snapshot once, all the time."""
    lake = Lake(uri)
    assert seen(lake) == []
    ids = store_days(lake, days=2, each=2)
    assert seen(lake) == expected(ids)
    assert compact(lake).days == 2
    ids.append(store(lake, NOON))
    assert seen(lake) == expected(ids)
    report = compact(lake, grace=timedelta(0))
    assert (report.late, report.swept) == (1, 5)
    assert seen(Lake(uri)) == expected(ids)
    keys = {entry.key for entry in lake.storage.list("landing")}
    assert keys == set()
    assert set(lake.view().files["nodes"]) == {
        f"{uri}/compacted/nodes/date=2026-11-18/{ACCOUNT}.parquet",
        f"{uri}/compacted/nodes/date=2026-11-18/{ACCOUNT}-late-{ids[-1]}.parquet",
        f"{uri}/compacted/nodes/date=2026-11-19/{ACCOUNT}.parquet",
    }


def test_a_sas_does_as_well_as_a_key(
    uri: str, server: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AZURE_STORAGE_SAS_TOKEN opens the lake, leases and large files included."""
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?" + server.sas())
    monkeypatch.setattr(blob, "PUT_BYTES", 100)
    lake = Lake(uri)
    ids = store_days(lake, days=1, each=2)
    assert compact(lake).days == 1
    assert seen(lake) == expected(ids)


def test_a_sas_that_may_not_write_is_reported_and_never_shown(
    uri: str, server: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the file and what to do; the token's signature is nowhere in it."""
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    sas = server.sas("rl")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", sas)
    signature = sas.split("sig=")[1]
    for does in (lambda: store(Lake(uri)), lambda: Lake(uri).lock("snapshot", "a").__enter__()):
        with pytest.raises(LakeError, match=r"must allow|cannot be used") as told:
            does()
        assert signature not in str(told.value)
        assert told.value.__cause__ is None
        assert signature not in repr(told.value.__context__)


def test_abfss_names_the_account_itself(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """abfss://container@account.dfs.core.windows.net/prefix is the same lake as az://."""
    ids = store_days(Lake(uri), days=1, each=1)
    container = uri.split("/")[2]
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT")
    other = f"abfss://{container}@devstoreaccount1.dfs.core.windows.net/some/prefix"
    assert seen(Lake(other)) == expected(ids)


@pytest.mark.parametrize(
    ("uri", "environ", "endpoint"),
    [
        ("az://c/p", {"AZURE_STORAGE_ACCOUNT": "a"}, "https://a.blob.core.windows.net"),
        ("abfss://c@a.dfs.core.windows.net/p", {}, "https://a.blob.core.windows.net"),
        ("abfss://c@a.dfs.core.chinacloudapi.cn/p", {}, "https://a.blob.core.chinacloudapi.cn"),
        (
            "az://c",
            {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_ENDPOINT": "http://h/a"},
            "http://h/a",
        ),
    ],
)
def test_the_endpoint_of_an_address(uri: str, environ: dict[str, str], endpoint: str) -> None:
    """It is the account's, in its cloud, unless one is set."""
    address = blob.parse(uri, environ)
    assert (address.container, address.account, address.endpoint) == ("c", "a", endpoint)
    assert address.prefix == ("p" if uri.endswith("/p") else "")


@pytest.mark.parametrize("uri", ["az://c/p", "az://", "abfss://c/p", "abfss://c@host/p"])
def test_an_address_that_lacks_something_says_what(uri: str) -> None:
    """No account named, or neither of the two forms."""
    with pytest.raises(LakeError, match=r"AZURE_STORAGE_ACCOUNT|abfss://container@account"):
        blob.parse(uri, {})


def test_a_container_that_is_not_there_is_named(uri: str) -> None:
    """The lake is not made by itself: the error says so."""
    with pytest.raises(LakeError, match="no such container"):
        store(Lake("az://nowhere/p"))


def test_a_missing_container_has_an_error_of_its_own(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing and a request of our own raise an error of its own; another refusal does not."""
    nowhere = open_storage("az://nowhere/p")
    with pytest.raises(NoContainer, match="ContainerNotFound"):
        list(nowhere.list("landing"))
    with pytest.raises(NoContainer, match="ContainerNotFound"):
        nowhere.lock("a.lock").__enter__()
    monkeypatch.setenv("AZURE_STORAGE_KEY", "AAAA")
    with pytest.raises(LakeError) as refused:
        list(open_storage(uri).list("landing"))
    assert not isinstance(refused.value, NoContainer)


@pytest.mark.parametrize("put_bytes", [1 << 20, 1000], ids=["one request", "blocks"])
def test_puts_are_conditional(
    storage: Storage, put_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Create-if-absent and If-Match: the loser changes nothing and is asked to try again."""
    monkeypatch.setattr(blob, "PUT_BYTES", put_bytes)
    monkeypatch.setattr(rest, "BLOCK_BYTES", 3000)
    data = bytes(range(256)) * 40
    first = put(storage, "a/b", data, "nothing")
    with pytest.raises(Changed, match="run the command again"):
        put(storage, "a/b", data, "nothing")
    second = put(storage, "a/b", data + b"2", first)
    with pytest.raises(Changed):
        put(storage, "a/b", data + b"3", first)
    there = storage.find("a/b")
    assert there is not None
    assert (there.etag, there.size) == (second.etag, len(data) + 1)
    with storage.open("a/b") as file:
        assert file.read() == data + b"2"
    last = put(storage, "a/b", data + b"4")
    assert not storage.delete(second)
    there = storage.find("a/b")
    assert there is not None
    assert there.etag == last.etag
    assert storage.delete(last)
    assert not storage.delete(last)
    assert storage.find("a/b") is None


def test_of_many_writers_exactly_one_creates(storage: Storage) -> None:
    """Racing create-if-absent puts: one wins, the others get an error."""
    won: list[int] = []

    def race(number: int) -> None:
        try:
            put(storage, "raced", str(number).encode(), "nothing")
        except Changed:
            return
        won.append(number)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with storage.open("raced") as file:
        assert [int(file.read())] == won


def test_a_read_is_of_one_version(storage: Storage) -> None:
    """A file replaced under a reader is missing for it: never half the one and half the other."""
    put(storage, "x", b"a" * (3 << 20))
    with storage.open("x") as file:
        assert file.read(10) == b"a" * 10
        put(storage, "x", b"b" * (3 << 20))
        with pytest.raises(LakeError, match="another one"):
            file.read(10)


@pytest.mark.parametrize("read", [table_file.read, table_file.survey])
def test_a_file_that_is_written_again_after_it_was_listed_is_read(
    uri: str, storage: Storage, read: Callable[[Storage, str], Any]
) -> None:
    """Two imports of the same files at once write the same rows twice; one that is gone is named."""
    body = io.BytesIO()
    pq.write_table(pa.table({"n": [1, 2]}), body)
    put(storage, "landing/nodes.parquet", body.getvalue())
    (listed,) = storage.list("landing")
    put(open_storage(uri), "landing/nodes.parquet", body.getvalue())

    assert read(storage, "landing/nodes.parquet")
    (again,) = storage.list("landing")
    assert again.etag != listed.etag
    open_storage(uri).delete(again)
    with pytest.raises(Missing, match=r"landing/nodes\.parquet"):
        read(storage, "landing/nodes.parquet")


def test_a_lease_is_held_by_one(storage: Storage) -> None:
    """The second taker gets an error that says who has it; afterwards it is free."""
    with storage.lock("compaction-a.lock") as lock:
        lock.check()
        with pytest.raises(Locked, match=f"pid {os.getpid()}"), storage.lock("compaction-a.lock"):
            pass
        with storage.lock("compaction-b.lock"):
            pass
    with storage.lock("compaction-a.lock"):
        pass


def test_a_lease_is_renewed_and_its_loss_is_noticed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by somebody else, it stops the holder before the next write."""
    monkeypatch.setattr(rest, "_RENEW_SECONDS", 0.05)
    with storage.lock("a") as lock:
        time.sleep(0.3)
        lock.check()
        assert isinstance(storage, blob.Blob)
        broken = storage.rest.put(
            storage.path("locks/a"),
            "comp=lease",
            {"x-ms-lease-action": "break", "x-ms-lease-break-period": "0"},
        )
        assert broken.is_success
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not lock._is_lost:  # type: ignore[attr-defined]
            time.sleep(0.05)
        with pytest.raises(Changed, match="lease was lost"):
            lock.check()


def test_duckdb_reads_no_byte_too_many(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One column of a large file is read by ranges: a small part of the file."""
    import secrets

    import pyarrow as pa
    import pyarrow.parquet as pq

    lake = Lake(uri)
    rows = 400_000
    table = pa.table({"a": range(rows), "b": [secrets.token_hex(8) for _ in range(rows)]})
    sink = lake.storage.sink("x.parquet")
    pq.write_table(table, sink.file, compression="none")
    size = sink.finish().size
    read: list[int] = []
    ranged = blob.Blob.read_range

    def counted(self: blob.Blob, entry: Any, start: int, end: int) -> bytes:
        read.append(end - start)
        return ranged(self, entry, start, end)

    monkeypatch.setattr(blob.Blob, "read_range", counted)
    with query.connect(lake) as connection:
        url = lake.storage.url("x.parquet")
        assert connection.table(f"select sum(a) as n from '{url}'").to_pylist() == [
            {"n": rows * (rows - 1) // 2}
        ]
    assert sum(read) < size / 2


def test_the_commands_take_an_address(
    uri: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """import, sql, status, compact, init-sql; no output holds the key."""
    saved = tmp_path / "nodes.json"
    saved.write_text('[{"id": "n1", "state": "idle"}]')
    importing = ["import", str(saved), "--pool", "p", "--account", "a", "--at", "2026-11-18T12:00Z"]
    assert run([*importing, "--lake", uri]) == 0
    assert run([*importing, "--lake", uri]) == 0
    assert run(["compact", "--lake", uri]) == 0
    assert run([*importing, "--lake", uri]) == 0
    assert run(["sql", "--format", "csv", "--lake", uri, "select node_id, state from nodes"]) == 0
    assert run(["status", "--lake", uri]) == 0
    assert run(["init-sql", "--lake", uri]) == 0
    assert run(["expire", "--compacted", "1", "--lake", uri]) == 3  # not swept yet
    told = capsys.readouterr()
    assert "node_id,state\nn1,idle\n" in told.out
    assert f"{uri}/compacted/nodes/date=2026-11-18/a.parquet" in told.out
    assert KEY not in told.out + told.err


def test_a_killed_compaction_is_taken_up_again(uri: str) -> None:
    """kill -9 at several moments: every snapshot is seen once, and once the lease ended it goes on."""
    lake = Lake(uri)
    ids = store_days(lake, days=2, each=2)
    code = (
        "import sys; from datetime import timedelta; from pipeline.maintain import compact; "
        "from pipeline.lake import Lake; from tests.days import LATER; "
        "compact(Lake(sys.argv[1]), clock=lambda: LATER, grace=timedelta(0))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, uri])
    deadline = time.monotonic() + 60
    while not [*lake.storage.list("compacted/nodes")] and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert seen(Lake(uri)) == expected(ids)
    # its lease would end by itself within a minute
    storage = lake.storage
    assert isinstance(storage, blob.Blob)
    storage.rest.put(
        storage.path(f"locks/compaction-{ACCOUNT}.lock"),
        "comp=lease",
        {"x-ms-lease-action": "break", "x-ms-lease-break-period": "0"},
    )
    compact(lake, grace=timedelta(0))
    assert seen(Lake(uri)) == expected(ids)
    assert [*lake.storage.list("landing")] == []


def test_a_lease_is_doubted_after_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept for a minute has not counted it, and its lease is another's by now."""
    lease = rest._Lease(None, "locks/x", "az://c/locks/x")  # type: ignore[arg-type]
    lease._renewed = rest._awake_or_not()
    lease.check()
    plain = time.clock_gettime
    monkeypatch.setattr(rest.time, "clock_gettime", lambda clock: plain(clock) + 46)
    with pytest.raises(Changed):
        lease.check()
