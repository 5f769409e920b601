"""Why nodes do not come, and images that end: against the emulator's truth, in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from pipeline import query
from pipeline.emulator import (
    PLANTED_POOL_SECRETS,
    Autoscale,
    AutoscaleError,
    Emulator,
    Fleet,
    FleetConfig,
    FormulaFailure,
    PoolConfig,
    Resize,
    ResizeError,
    Shortage,
)
from pipeline.emulator.config import Image
from pipeline.lake import Lake
from pipeline.maintain import compaction
from tests.service import Service, rows

#: Six hours before midnight, but for a fraction: polls come between the emulator's round times.
START = datetime(2026, 11, 16, 18, 0, 0, 400_000, tzinfo=UTC)
POLL = timedelta(minutes=10)
POLLS = 60
#: Times of the service and its Date header, which is cut to the second.
ALLOWED = timedelta(seconds=2)
QUIET: dict[str, Any] = {"removals_per_day": 0.0}
OLD = ("canonical", "0001-com-ubuntu-server-jammy", "22_04-lts")


def pools() -> tuple[PoolConfig, ...]:
    """Short for a time, over midnight; short for good; a formula that fails; and healthy ones."""
    return (
        PoolConfig(
            id="heals",
            dedicated=4,
            resizes=(Resize(after_hours=1.0, dedicated=12), Resize(after_hours=8.2, dedicated=13)),
            shortages=(
                Shortage(after_hours=0.5, hours=7.0, dedicated=7),
                Shortage(after_hours=8.0, hours=1.0, dedicated=12),
            ),
            **QUIET,
        ),
        PoolConfig(
            id="lasts",
            dedicated=2,
            spot=3,
            resizes=(Resize(after_hours=2.0, spot=9),),
            shortages=(Shortage(after_hours=1.0, hours=90.0, spot=5, code="AllocationFailed"),),
            **QUIET,
        ),
        PoolConfig(
            id="formula",
            dedicated=3,
            image="/".join(OLD),
            autoscale=Autoscale(
                min_dedicated=3,
                max_dedicated=3,
                error_rate=0.0,
                failures=(FormulaFailure(after_hours=3.1, hours=4.0),),
            ),
            **QUIET,
        ),
        PoolConfig(
            id="scales",
            dedicated=2,
            image="canonical/ubuntu-24_04-lts/server",
            autoscale=Autoscale(min_dedicated=2, max_dedicated=4, error_rate=0.0),
            **QUIET,
        ),
        PoolConfig(
            id="calm", dedicated=3, resizes=(Resize(after_hours=4.0, dedicated=5),), **QUIET
        ),
    )


@dataclass(frozen=True)
class Recorded:
    """A lake, what truly happened, and when the last poll was."""

    lake: Lake
    fleet: Fleet
    ended_at: datetime


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Ten hours, polled every ten minutes; the first day compacted."""
    ending = Image(
        publisher=OLD[0],
        offer=OLD[1],
        sku=OLD[2],
        node_agent_sku_id="batch.node.ubuntu 22.04",
        ends_after_days=40,
    )
    fleet = Fleet(FleetConfig(pools=pools(), images=(ending,)), seed=11, start=START)
    service, lake = Service(Emulator(fleet)), Lake(tmp_path_factory.mktemp("errors") / "lake")
    for _ in range(POLLS):
        fleet.advance(fleet.now + POLL)
        assert service.run(lake).exit_code == 0
    later = fleet.now + timedelta(days=1)
    compaction.compact(lake, clock=lambda: later, through=date(2026, 11, 16))
    return Recorded(lake, fleet, fleet.now)


@pytest.fixture(scope="module")
def connection(recorded: Recorded) -> Iterator[query.Connection]:
    """A connection to its lake."""
    with query.connect(recorded.lake) as opened:
        yield opened


def seen(recorded: Recorded, record: ResizeError | AutoscaleError) -> list[datetime]:
    """The polls at which an error was shown."""
    polls = [START + POLL * (number + 1) for number in range(POLLS)]
    ended = record.ended_at or recorded.ended_at + POLL
    return [poll for poll in polls if record.started_at <= poll < ended]


def test_episodes_are_the_truth_within_their_bounds(
    recorded: Recorded, connection: query.Connection
) -> None:
    """Every error that a poll could see is one episode; its bounds lie between two polls."""
    truth = [*recorded.fleet.truth.resize_errors, *recorded.fleet.truth.autoscale_errors]
    expected = sorted(
        ((record.pool_id, record.code, record.started_at), record)
        for record in truth
        if seen(recorded, record)
    )
    found = connection.table(
        "from pool_error_episodes order by pool_id, code, first_observed_at"
    ).to_pylist()
    assert [(key[0], key[1]) for key, _ in expected] == [(r["pool_id"], r["code"]) for r in found]
    assert {row["kind"] for row in found} == {"resize", "autoscale"}
    for (_, record), row in zip(expected, found, strict=True):
        polls = seen(recorded, record)
        assert abs(row["first_observed_at"] - polls[0]) <= ALLOWED
        assert abs(row["last_observed_at"] - polls[-1]) <= ALLOWED
        assert abs(row["started_after"] - (polls[0] - POLL)) <= ALLOWED
        if record.ended_at is None:
            assert row["ended_before"] is None
        else:
            assert abs(row["ended_before"] - (polls[-1] + POLL)) <= ALLOWED
        if isinstance(record, ResizeError):
            assert abs(row["resized_at"] - record.started_at) <= ALLOWED
            assert (row["dedicated_short"], row["spot_short"]) == (
                record.dedicated_short,
                record.spot_short,
            )
        else:
            assert record.started_at - ALLOWED <= row["evaluated_at"] <= polls[0] + ALLOWED


def test_a_nodes_story_has_the_errors_of_its_pool_within_its_life(
    recorded: Recorded, connection: query.Connection
) -> None:
    """Each that a poll showed after its allocation and that began before its last poll: no other."""
    truth = [*recorded.fleet.truth.resize_errors, *recorded.fleet.truth.autoscale_errors]
    lives = connection.table(
        "select pool_id, node_id, allocation_time, max(observed_at) as last_at from nodes "
        "group by pool_id, node_id, allocation_time"
    ).to_pylist()
    by_time = sorted(lives, key=lambda life: (life["allocation_time"], life["node_id"]))
    ends = [({life["pool_id"]: life for life in each}) for each in (by_time, by_time[::-1])]
    counts = set()
    for life in (life for lasts in ends for life in lasts.values()):
        expected = {
            (record.code, polls[0], polls[-1])
            for record in truth
            if record.pool_id == life["pool_id"]
            and (polls := seen(recorded, record))
            and polls[-1] >= life["allocation_time"]
            and polls[0] <= life["last_at"] + ALLOWED
        }
        mine = (pc.field("allocation_time") == life["allocation_time"]) & (
            pc.field("node_id") == life["node_id"]
        )
        asked = {"pool": life["pool_id"]}
        answer = connection.ask("node_story", node=life["node_id"], **asked)
        story = answer.filter(mine).to_pylist()
        found = [row for row in story if row["kind"] == "pool error"]
        assert len(found) == len(expected)
        for code, first, last in expected:
            (row,) = (each for each in found if abs(each["ended_after"] - last) <= ALLOWED)
            assert row["what"].split() in (["resize", code], ["autoscale", code])
            assert (row["began_after"] is None) == row["what"].startswith("resize")
            assert first - POLL - ALLOWED <= row["began_at"] <= first + ALLOWED
        counts.add((life["pool_id"], len(expected)))
        if life is ends[1]["heals"]:  # they split no stretch of work; other stories lack them
            others = connection.ask("node_story", **asked).filter(mine).to_pylist()
            assert [row for row in story if row["kind"] != "pool error"] == others
    assert {("heals", 2), ("calm", 0), ("scales", 0), ("formula", 1)} <= counts
    assert {count for pool, count in counts if pool in ("calm", "scales")} == {0}


def test_resize_errors_names_who_is_short_and_no_one_healthy(
    recorded: Recorded, connection: query.Connection
) -> None:
    """By pool and code: how long, how many nodes, and whether they still are."""
    truth: dict[tuple[str, str], list[ResizeError]] = {}
    for record in recorded.fleet.truth.resize_errors:
        if seen(recorded, record):
            truth.setdefault((record.pool_id, record.code), []).append(record)
    assert {pool for pool, _ in truth} == {"heals", "lasts"}
    answers = connection.ask("resize_errors").to_pylist()
    assert {(row["pool_id"], row["code"]) for row in answers} == {*truth}
    for row in answers:
        records = truth[row["pool_id"], row["code"]]
        hours = sum(
            ((each.ended_at or recorded.ended_at) - each.started_at) / timedelta(hours=1)
            for each in records
        )
        is_open = any(each.ended_at is None for each in records)
        assert row["episodes"] == len(records)
        assert row["certain_hours"] <= hours + 0.01
        assert row["is_short_now"] == is_open
        assert (row["at_most_hours"] is None) == is_open
        if not is_open:
            assert row["at_most_hours"] >= hours - 0.01
            assert (
                row["at_most_hours"] - row["certain_hours"]
                <= len(records) * 2 * POLL.seconds / 3600
            )
        assert row["dedicated_short"] == max(each.dedicated_short for each in records)
        assert row["spot_short"] == max(each.spot_short for each in records)
        assert row["message"]
    only = connection.ask("resize_errors", pool="heals").to_pylist()
    assert {row["pool_id"] for row in only} == {"heals"}
    before = connection.ask("resize_errors", to=START + timedelta(hours=1.5)).to_pylist()
    assert {row["pool_id"] for row in before} == {"heals"}


def test_autoscale_errors_names_the_formula_that_fails(
    recorded: Recorded, connection: query.Connection
) -> None:
    """One episode of four hours; the pool whose formula works is not named."""
    (record,) = recorded.fleet.truth.autoscale_errors
    (row,) = connection.ask("autoscale_errors").to_pylist()
    assert (row["pool_id"], row["code"], row["episodes"]) == ("formula", record.code, 1)
    assert record.ended_at is not None
    hours = (record.ended_at - record.started_at) / timedelta(hours=1)
    assert row["certain_hours"] <= hours + 0.01
    assert row["at_most_hours"] >= hours - 0.01
    assert not row["is_failing_now"]
    assert abs(row["first_failed_at"] - record.started_at) <= timedelta(minutes=15)


def test_answers_do_not_depend_on_compaction(recorded: Recorded, tmp_path: Path) -> None:
    """The same fleet, not compacted, gives the same episodes."""
    fleet = Fleet(recorded.fleet.config, seed=11, start=START)
    service, lake = Service(Emulator(fleet)), Lake(tmp_path)
    for _ in range(POLLS):
        fleet.advance(fleet.now + POLL)
        service.run(lake)
    ordered = "from pool_error_episodes order by all"
    assert rows(lake, ordered) == rows(recorded.lake, ordered)


def test_image_end_of_life_names_pools_nodes_and_a_successor(
    recorded: Recorded, connection: query.Connection
) -> None:
    """One pool runs an image that ends in forty days; those that are safe are not named."""
    fleet = recorded.fleet
    (row,) = connection.ask("image_end_of_life").to_pylist()
    nodes = sum(1 for pool in fleet.pools() if pool.plan.config.id == "formula"
                for _ in fleet.nodes(pool))  # fmt: skip
    assert (row["pool_id"], row["publisher"], row["offer"], row["sku"]) == ("formula", *OLD)
    assert row["nodes"] == nodes
    listed = {
        (each["imageReference"]["offer"], each["imageReference"]["sku"]): each
        for each in fleet.supported_images()
        if each["imageReference"]["publisher"] == OLD[0]
    }
    end = datetime.fromisoformat(listed[OLD[1:]]["batchSupportEndOfLife"])
    assert row["end_of_life_at"] == end
    assert abs(row["days_left"] - (end - row["listed_at"]) / timedelta(days=1)) < 0.001
    lasting = {
        name
        for name, each in listed.items()
        if each["verificationType"] == "verified" and "batchSupportEndOfLife" not in each
    }
    assert (row["successor_offer"], row["successor_sku"]) == max(lasting)
    assert row["successor_end_of_life_at"] is None
    assert connection.ask("image_end_of_life", days=30).num_rows == 0
    assert connection.ask("image_end_of_life", pool="scales").num_rows == 0


@pytest.mark.parametrize("name", ["resize_errors", "autoscale_errors", "image_end_of_life"])
def test_an_empty_lake_gives_columns(tmp_path: Path, name: str) -> None:
    """And no rows."""
    with query.connect(Lake(tmp_path)) as empty:
        answer = empty.ask(name)
        assert answer.num_rows == 0
        assert answer.num_columns > 5


def test_no_secret_of_a_pool_is_stored(recorded: Recorded, connection: query.Connection) -> None:
    """Resize errors and autoscale results hold planted ones; tables, facts and answers hold none."""
    tables = ("pools", "pool_errors", "pool_error_episodes")
    text = "".join(str(connection.table(f"from {table}").to_pylist()) for table in tables)
    text += "".join(
        str(connection.ask(name).to_pylist()) for name in ("resize_errors", "autoscale_errors")
    )
    assert "[redacted]" in text
    assert not [secret for secret in PLANTED_POOL_SECRETS if secret in text]
    bytes_of_lake = b"".join(
        path.read_bytes() for path in recorded.lake.root.rglob("*") if path.is_file()
    )
    assert not [secret for secret in PLANTED_POOL_SECRETS if secret.encode() in bytes_of_lake]
