"""One run against the emulated service: what it stores, and what it says of what it could not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from pipeline import cli, config, query, snapshot
from pipeline.extract import Page
from pipeline.lake import Lake, Locked, SnapshotWriter
from tests.service import START, Service, make_service, one, rows, small_fleet

SIZES = {"alpha": 12, "beta": 5, "gamma": 3}


@pytest.fixture
def service() -> Service:
    """Three pools of 12, 5 and 3 nodes."""
    return make_service()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def listed(lake: Lake) -> dict[str, tuple[str, str | None, int]]:
    """Each pool's listing, error code and stored nodes in the only snapshot."""
    return {
        row["pool_id"]: (row["listing"], row["error_code"], row["stored"])
        for row in rows(
            lake,
            "select pools.*, (select count(*) from nodes where nodes.pool_id = pools.pool_id) "
            "as stored from pools",
        )
    }


HEALTHY = {pool: ("complete", None, size) for pool, size in SIZES.items()}


def test_a_complete_run_stores_every_node_of_every_pool(service: Service, lake: Lake) -> None:
    """Nodes, their children, the pools and the ledger are there, and they agree."""
    outcome = service.run(lake)
    assert outcome.exit_code == 0
    assert listed(lake) == HEALTHY
    ledger = one(lake, "from snapshots")
    assert ledger["status"] == ledger["pool_listing"] == "complete"
    assert (ledger["pools_listed"], ledger["pools_complete"], ledger["pools_failed"]) == (3, 3, 0)
    assert ledger["scope"] == "account"
    assert ledger["source"] == "live"
    assert ledger["api_version"] == "2024-07-01.20.0"
    for table in ("pools", "nodes", "start_tasks", "recent_tasks", "node_errors"):
        assert one(lake, f"select count(*) as n from {table}")["n"] == ledger[f"{table}_rows"]
    # 3 pages of alpha, one each of beta and gamma, the pools, the counts; then nothing is sent twice
    assert ledger["requests"] == 3 + 1 + 1 + 1 + 1 + 3  # the last three are the images
    assert ledger["retries"] == 0


def test_every_row_begins_with_account_snapshot_and_time(service: Service, lake: Lake) -> None:
    """A row of any table says which snapshot of which account it belongs to."""
    outcome = service.run(lake)
    expected = (service.account.label, outcome.row["snapshot_id"], START)
    for table in ("snapshots", "pools", "nodes", "start_tasks", "recent_tasks"):
        keys = rows(lake, f"select distinct account, snapshot_id, snapshot_at from {table}")
        assert [tuple(row.values()) for row in keys] == [expected]


def test_nodes_are_counted_by_the_service_too(service: Service, lake: Lake) -> None:
    """nodes_counted is what /nodecounts says: a soft cross-check of the listing."""
    service.run(lake)
    counted = rows(lake, "select pool_id, nodes_listed, nodes_counted from pools order by 1")
    assert [tuple(row.values()) for row in counted] == [(p, n, n) for p, n in SIZES.items()]


def test_a_run_limited_to_pools_proves_no_absence(service: Service, lake: Lake) -> None:
    """--pool reads only those pools and says so in the ledger's scope."""
    service.run(lake)
    outcome = service.run(lake, pools=["beta"])
    assert outcome.exit_code == 0
    assert outcome.row["scope"] == "pools"
    assert outcome.row["nodes_rows"] == 5
    # alpha and gamma are not gone for it
    latest = rows(lake, "select distinct pool_id from nodes_latest order by 1")
    assert [row["pool_id"] for row in latest] == ["alpha", "beta", "gamma"]


def test_a_pool_asked_for_that_does_not_exist_is_a_failed_listing(
    service: Service, lake: Lake
) -> None:
    """The pools that exist are stored, the other one is named with the service's code."""
    outcome = service.run(lake, pools=["beta", "nowhere"])
    assert outcome.exit_code == 3
    assert listed(lake) == {"beta": HEALTHY["beta"], "nowhere": ("failed", "PoolNotFound", 0)}


class Instead(httpx.BaseTransport):
    """The service, but for the paths that end so: they are answered with that JSON."""

    def __init__(self, service: Service, end: str, body: bytes) -> None:
        self.real = service.emulator.transport()
        self.end = end
        self.body = body

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The service's answer, or the other one."""
        if request.url.path.endswith(self.end):
            return httpx.Response(200, stream=httpx.ByteStream(self.body))
        return self.real.handle_request(request)


@pytest.mark.parametrize("body", [b"{}", b'{"id": 5}', b'{"id": "alpha"}'])
def test_an_answer_that_is_not_the_pool_asked_for_is_a_failed_listing(
    service: Service, lake: Lake, body: bytes
) -> None:
    """A run that was to read a pool and did not is never complete."""
    with service.client(transport=Instead(service, "/pools/beta", body)) as client:
        outcome = snapshot.run(service.account, lake, client, pools=["beta", "gamma"])
    assert outcome.exit_code == 3
    assert listed(lake) == {"beta": ("failed", "BadPage", 0), "gamma": HEALTHY["gamma"]}


def test_a_pool_without_a_valid_id_makes_the_listing_of_pools_partial(
    service: Service, lake: Lake
) -> None:
    """It has no row and its nodes cannot be asked for: no absence follows from that run."""
    body = b'{"value": [{"id": "alpha"}, {"displayName": "nameless"}]}'
    with service.client(transport=Instead(service, "/pools", body)) as client:
        outcome = snapshot.run(service.account, lake, client)
    assert (outcome.exit_code, outcome.row["pool_listing"]) == (3, "partial")
    assert listed(lake) == {"alpha": HEALTHY["alpha"]}


def test_a_pool_met_twice_is_kept_once(service: Service, lake: Lake) -> None:
    """The first; and asked for twice it is read once."""
    body = b'{"value": [{"id": "beta", "displayName": "1"}, {"id": "beta", "displayName": "2"}]}'
    with service.client(transport=Instead(service, "/pools", body)) as client:
        assert snapshot.run(service.account, lake, client).exit_code == 0
    assert rows(lake, "select display_name, nodes_listed from pools") == [
        {"display_name": "1", "nodes_listed": 5}
    ]
    with service.client() as client:
        outcome = snapshot.run(service.account, lake, client, pools=["beta", "beta"])
    assert outcome.row["requests"] == 3


@pytest.mark.parametrize("total", ["1e3", "true", "-5", "99999999999999999999"])
def test_node_counts_that_cannot_be_are_none(service: Service, lake: Lake, total: str) -> None:
    """They are a soft check: no run fails of them."""
    body = f'{{"value": [{{"poolId": "beta", "dedicated": {{"total": {total}}}}}]}}'
    with service.client(transport=Instead(service, "/nodecounts", body.encode())) as client:
        assert snapshot.run(service.account, lake, client).exit_code == 0
    assert one(lake, "select nodes_counted from pools where pool_id = 'beta'") == {
        "nodes_counted": None
    }


def test_a_dry_run_reads_all_and_writes_nothing(service: Service, lake: Lake) -> None:
    """Its figures are those of a real run; the lake is not even made."""
    outcome = service.run(lake, dry_run=True)
    assert outcome.exit_code == 0
    assert not outcome.is_stored
    assert outcome.row["nodes_rows"] == sum(SIZES.values())
    assert not lake.root.exists()


def test_an_account_without_pools_is_complete(lake: Lake) -> None:
    """Nothing to record is no failure, and it is known that there was nothing."""
    service = make_service()
    service.emulator.faults.clear()
    service.fault("mutate", route="nodes", mutate=lambda node: None)
    empty = make_service(small_fleet(alpha=0))
    assert empty.run(lake).exit_code == 0
    assert listed(lake) == {"alpha": ("complete", None, 0)}


def test_a_second_run_of_an_account_ends_at_once(service: Service, lake: Lake) -> None:
    """While a run holds the account's lock another one does nothing: no request, no ledger row."""
    with lake.lock("snapshot", service.account.label):
        with service.client() as client, pytest.raises(Locked, match="pid"):
            snapshot.run(service.account, lake, client)
        assert client.figures.requests == 0
    assert query.connect(lake).view.snapshot_ids == ()
    assert service.run(lake).exit_code == 0


@pytest.mark.parametrize(
    ("kind", "parameters", "retries", "throttled"),
    [
        ("throttle", {"retry_after": "2"}, 1, 1),
        ("throttle", {"retry_after": "http-date", "seconds": 3}, 1, 1),
        ("busy", {}, 1, 1),
        ("internal_error", {}, 1, 0),
        ("drop", {}, 1, 0),
        ("truncated_json", {}, 1, 0),
        ("malformed_json", {}, 1, 0),
        ("two_documents", {}, 1, 0),
        ("html_page", {}, 1, 0),
        ("html_page", {"status": 200}, 1, 0),
        ("empty_body", {}, 1, 0),
    ],
)
def test_a_fault_that_passes_costs_a_retry_and_nothing_else(
    service: Service,
    lake: Lake,
    kind: str,
    parameters: dict[str, object],
    retries: int,
    throttled: int,
) -> None:
    """Met once, it is tried again: the snapshot is complete and the ledger counts the retry."""
    service.fault(kind, route="nodes", pool="alpha", page=2, times=1, **parameters)
    outcome = service.run(lake)
    assert outcome.exit_code == 0
    assert listed(lake) == HEALTHY
    assert (outcome.row["retries"], outcome.row["throttled"]) == (retries, throttled)


@pytest.mark.parametrize(
    ("kind", "parameters", "code"),
    [
        ("throttle", {"retry_after": "2"}, "TooManyRequests"),
        ("throttle", {"retry_after": "http-date", "seconds": 3}, "TooManyRequests"),
        ("busy", {}, "ServerBusy"),
        ("internal_error", {}, "InternalError"),
        ("drop", {}, None),
        ("truncated_json", {}, None),
        ("malformed_json", {}, None),
        ("two_documents", {}, None),
        ("html_page", {}, "HTTP 502"),
        ("html_page", {"status": 200}, None),
        ("empty_body", {}, None),
        ("error_with_200", {}, None),
        ("forbidden", {}, None),
        ("unauthorized", {}, None),
        ("gzip_bomb", {"bytes": 200_000_000}, None),
        ("pool_not_found", {}, "PoolNotFound"),
        ("next_link_host", {}, None),
        ("next_link_port", {}, None),
        ("next_link_scheme", {}, None),
        ("next_link_loop", {}, None),
    ],
)
def test_a_fault_that_stays_costs_one_listing_and_no_other_pool(
    service: Service, lake: Lake, kind: str, parameters: dict[str, object], code: str | None
) -> None:
    """The pool's listing has failed with a code; the other pools are stored whole; exit 3."""
    service.fault(kind, route="nodes", pool="alpha", **parameters)
    outcome = service.run(lake)
    assert outcome.exit_code == 3
    found = listed(lake)
    assert {pool: found[pool] for pool in ("beta", "gamma")} == {
        pool: HEALTHY[pool] for pool in ("beta", "gamma")
    }
    listing, error_code, stored = found["alpha"]
    assert listing == ("partial" if stored else "failed")
    assert error_code
    assert code in (None, error_code)
    row = one(lake, "select * from pools where pool_id = 'alpha'")
    assert row["error_message"]
    ledger = one(lake, "from snapshots")
    assert (ledger["status"], ledger["pools_failed"]) == ("partial", 1)
    assert ledger["error_code"] == error_code


def test_pages_read_before_a_failure_are_kept_and_the_listing_is_partial(
    service: Service, lake: Lake
) -> None:
    """What was good is stored; a partial listing says that it is not all."""
    service.fault("internal_error", route="nodes", pool="alpha", page=3)
    assert service.run(lake).exit_code == 3
    assert listed(lake)["alpha"] == ("partial", "InternalError", 10)


def test_nodes_that_were_read_are_never_a_failed_run(lake: Lake) -> None:
    """One pool, and that partial: exit 3, for something is stored."""
    service = make_service(small_fleet(alpha=12))
    service.fault("internal_error", route="nodes", pool="alpha", page=2)
    outcome = service.run(lake)
    assert (outcome.exit_code, outcome.row["status"], outcome.row["nodes_rows"]) == (
        3,
        "partial",
        5,
    )


def test_an_interrupt_waits_for_no_one(service: Service, lake: Lake) -> None:
    """What other pools wait for, a minute's Retry-After say, ends with it."""
    service.fault("busy", route="nodes", pool="beta", retry_after="60")

    class Interrupting:
        def pools_listed(self, pools: int) -> None: ...

        def nodes_read(self, pool_id: str, nodes: int) -> None: ...

        def pool_done(self, pool_id: str, listing: str) -> None:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with (
        service.client(sleep=None) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        snapshot.run(service.account, lake, client, watch=Interrupting())
    assert time.monotonic() - begun < 30


def test_a_failure_keeps_the_services_request_id(service: Service, lake: Lake) -> None:
    """Support asks for it: the pool's row and the ledger have the failed answer's request-id."""
    service.fault("forbidden", route="nodes", pool="beta")
    service.run(lake)
    row = one(lake, "select request_id from pools where pool_id = 'beta'")
    assert len(row["request_id"]) == 36
    assert one(lake, "select request_id from snapshots") == row


def test_pools_listed_before_a_failure_are_still_recorded(lake: Lake) -> None:
    """The pools' second page fails: the first page's pools are stored, the run is partial."""
    service = make_service(small_fleet(alpha=2, beta=2, gamma=2), page_limit=2)
    service.fault("internal_error", route="pools", page=2)
    outcome = service.run(lake)
    assert outcome.exit_code == 3
    assert outcome.row["pool_listing"] == "partial"
    assert sorted(listed(lake)) == ["alpha", "beta"]


@pytest.mark.parametrize("kind", ["forbidden", "internal_error", "malformed_json", "gzip_bomb"])
def test_no_pools_at_all_is_a_failed_run_with_a_ledger_row(
    service: Service, lake: Lake, kind: str
) -> None:
    """Exit 1, nothing stored, and the ledger knows that the poll failed, not that none was."""
    service.fault(kind, route="pools")
    outcome = service.run(lake)
    assert outcome.exit_code == 1
    ledger = one(lake, "from snapshots")
    assert (ledger["status"], ledger["pool_listing"]) == ("failed", "failed")
    assert ledger["error_code"]
    assert rows(lake, "from pools") == []


def test_every_pool_failing_is_a_failed_run(service: Service, lake: Lake) -> None:
    """No node rows stored: exit 1, yet each pool's failure is recorded."""
    service.fault("forbidden", route="nodes")
    assert service.run(lake).exit_code == 1
    assert {listing for listing, _, _ in listed(lake).values()} == {"failed"}


def test_a_pool_that_vanishes_after_it_was_listed_has_failed_with_that_code(
    service: Service, lake: Lake
) -> None:
    """Listed, then 404: recorded as such; its absence is for a later listing to prove."""
    service.fault("pool_not_found", route="nodes", pool="gamma")
    assert service.run(lake).exit_code == 3
    assert listed(lake)["gamma"] == ("failed", "PoolNotFound", 0)


def test_failing_node_counts_are_no_failure(service: Service, lake: Lake) -> None:
    """They are a soft check: without them the snapshot is complete and nodes_counted is null."""
    service.fault("forbidden", route="nodecounts")
    assert service.run(lake).exit_code == 0
    assert one(lake, "select count(nodes_counted) as n from pools")["n"] == 0


def test_a_clock_ten_minutes_off_is_recorded_and_does_no_harm(service: Service, lake: Lake) -> None:
    """observed_at is the service's clock; the skew between it and ours is in the ledger."""
    service.fault("clock_skew", minutes=10)
    outcome = service.run(lake)
    assert outcome.exit_code == 0
    assert outcome.row["clock_skew_seconds"] == pytest.approx(600, abs=5)
    seen = one(lake, "select min(observed_at) as first, max(observed_at) as last from nodes")
    for at in seen.values():
        assert abs(at - START - timedelta(minutes=10)) < timedelta(seconds=5)


def test_a_node_of_wrong_types_keeps_its_keys_and_makes_the_run_partial(
    service: Service, lake: Lake
) -> None:
    """The pool's listing is complete, the node counts as present, the ledger names the fields."""
    service.fault("wrong_types", route="nodes", pool="beta", count=1)
    outcome = service.run(lake)
    assert outcome.exit_code == 3
    assert listed(lake) == HEALTHY
    bad = one(lake, "select * from nodes where is_malformed")
    assert bad["pool_id"] == "beta"
    assert bad["state"] is None
    assert '"totalTasksRun": "12"' in bad["extra_json"]
    ledger = one(lake, "from snapshots")
    assert ledger["malformed"] == 1
    named = {(p["pool_id"], p["node_id"], p["path"]) for p in ledger["problems"]}
    assert named == {
        ("beta", bad["node_id"], path)
        for path in ("totalTasksRun", "allocationTime", "recentTasks")
    }


def test_a_listing_that_holds_a_node_without_an_id_is_partial(service: Service, lake: Lake) -> None:
    """Which node it is no one can say, so the listing proves nothing of those it does not have."""
    service.fault("missing_id", route="nodes", pool="beta", count=1)
    assert service.run(lake).exit_code == 3
    assert listed(lake)["beta"] == ("partial", "NodeWithoutId", 5)


def test_a_node_met_twice_in_a_listing_is_kept_once(service: Service, lake: Lake) -> None:
    """Nodes move between pages while they are read: the first is kept, the others are counted."""
    service.fault("duplicate_nodes", route="nodes", pool="alpha", page=2, count=2)
    outcome = service.run(lake)
    assert outcome.exit_code == 0
    assert outcome.row["duplicates"] > 0
    ids = one(lake, "select count(*) as n, count(distinct node_id) as ids from nodes")
    assert ids["n"] == ids["ids"]


def test_unknown_fields_are_kept_counted_and_named_by_status(service: Service, lake: Lake) -> None:
    """What the schema does not know goes to its row's extra_json; status names it."""
    service.fault("unknown_fields", route="nodes", pool="beta", count=1)
    service.fault("unknown_enums", route="nodes", pool="gamma", count=1)
    outcome = service.run(lake)
    assert outcome.exit_code == 0
    assert int(str(outcome.row["unknown_fields"])) >= 3
    extra = rows(lake, "select extra_json from nodes where extra_json like '%healthScore%'")
    assert len(extra) == 1
    with query.connect(lake) as connection:
        (status,) = connection.ask("status").to_pylist()
    assert "nodes.healthScore" in status["unknown_fields"]
    assert "nodes.state=hibernating" in status["unknown_enum_values"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_run_leaves_nothing_half_visible_but_a_ledger_row(
    service: Service, lake: Lake, error: type[BaseException]
) -> None:
    """Whatever ends a run in its middle: no rows, a failed ledger row, and the lock is free."""

    class Interrupting:
        def pools_listed(self, pools: int) -> None: ...

        def nodes_read(self, pool_id: str, nodes: int) -> None:
            if pool_id == "alpha":
                raise error

        def pool_done(self, pool_id: str, listing: str) -> None: ...

    with pytest.raises(error):
        service.run(lake, watch=Interrupting())
    ledger = one(lake, "from snapshots")
    assert ledger["status"] == "failed"
    expected = "Interrupted" if error is KeyboardInterrupt else "MemoryError"
    assert ledger["error_code"] == expected
    assert rows(lake, "from nodes") == []
    assert [*lake.root.rglob("*.staging")] == []
    assert service.run(lake).exit_code == 0


def test_the_fleet_of_a_moment_is_that_of_its_last_complete_listings(
    service: Service, lake: Lake
) -> None:
    """nodes_at answers from listings finished by then; nodes_latest from the newest; with ages."""
    service.run(lake)
    service.emulator.fleet.advance(START + timedelta(minutes=5))
    service.fault("forbidden", route="nodes", pool="alpha")
    service.run(lake)
    ages = rows(
        lake,
        f"select pool_id, age_seconds from nodes_at('{START + timedelta(minutes=6)}') "
        "group by all order by 1",
    )
    assert [tuple(row.values()) for row in ages] == [("alpha", 360), ("beta", 60), ("gamma", 60)]
    assert rows(lake, f"from nodes_at('{START - timedelta(minutes=1)}')") == []
    latest = one(lake, "select count(*) as n from nodes_latest")
    assert latest["n"] == sum(SIZES.values())


def test_a_page_whose_link_reads_differently_the_second_time_is_an_error(
    service: Service, lake: Lake
) -> None:
    """Were the followed link not the page's own, a page would be lost silently."""
    with service.client() as client:
        listed_pages = client.nodes

        def without_links(pool_id: str) -> Iterator[Page]:
            for page in listed_pages(pool_id):
                yield replace(page, next_link=None)

        client.nodes = without_links  # type: ignore[method-assign]  # a client that loses links
        outcome = snapshot.run(service.account, lake, client)
    assert outcome.exit_code == 3
    assert listed(lake)["alpha"][:2] == ("failed", "BadPage")
    assert listed(lake)["beta"] == HEALTHY["beta"]


def test_an_interrupt_right_after_the_commit_is_no_failed_run(
    service: Service, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is there: the ledger has its row, and none of a failure beside it."""
    commit = SnapshotWriter.commit

    def interrupted(writer: SnapshotWriter, ledger: pa.Table) -> None:
        commit(writer, ledger)
        raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotWriter, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        service.run(lake)
    assert [row["status"] for row in rows(lake, "from snapshots")] == ["complete"]
    assert len(rows(lake, "from nodes")) == sum(SIZES.values())


def test_a_refused_version_is_recorded_by_the_next_newer_one(
    service: Service,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The fleet is whole, exit 0; ledger, log and ``status`` say what answered."""
    service.emulator.refused_versions = frozenset({"2024-02-01.19.0", "2024-07-01.20.0"})
    outcome = service.run(lake)
    assert outcome.exit_code == 0
    assert listed(lake) == HEALTHY
    ledger = one(lake, "from snapshots")
    assert (ledger["api_version"], ledger["configured_api_version"]) == (
        "2025-06-01",
        "2024-07-01.20.0",
    )
    assert [r for r in caplog.records if "refuses the api-version" in r.getMessage()]
    assert cli.run(["status", "--lake", str(lake), "--format", "json"]) == 0
    printed = capfd.readouterr()
    assert '"refused_api_version": "2024-07-01.20.0"' in printed.out
    assert "refuses the configured api-version 2024-07-01.20.0" in printed.err
    assert "2025-06-01" in printed.err


def test_a_version_that_is_taken_is_named_by_no_warning(
    service: Service, lake: Lake, capfd: pytest.CaptureFixture[str]
) -> None:
    """An account in order is not accused."""
    service.run(lake)
    assert cli.run(["status", "--lake", str(lake), "--format", "json"]) == 0
    printed = capfd.readouterr()
    assert '"refused_api_version": null' in printed.out
    assert "api-version" not in printed.err


@pytest.mark.parametrize("version", config.API_VERSIONS)
def test_every_version_is_recorded_without_an_unknown_field(lake: Lake, version: str) -> None:
    """What a version sends is what the schema names."""
    service = make_service()
    with service.client(api_version=version) as client:
        outcome = snapshot.run(service.account, lake, client, clock=lambda: START)
    assert (outcome.exit_code, outcome.row["unknown_fields"]) == (0, 0)
    assert outcome.row["api_version"] == version
