"""Hours and money: node-hours, idle and broken time, the service's core-hours, against the truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests.lakes import node, put
from tests.questions.planted import DAY, START, Planted, at, incarnation
from tests.questions.truths import ALLOWED, HOUR, UNBILLED, hours_in, kinds

MIDNIGHT = datetime(2026, 11, 17, tzinfo=UTC)
BROKEN = ("unusable", "starttaskfailed", "offline", "unknown")

#: Two currencies, so that a sum over both would show; nothing for the size of calm.
PRICES = """vm_size,kind,price_per_hour,currency
standard_d4s_v5,dedicated,0.25,EUR
standard_f16s_v2,dedicated,0.75,USD
standard_f16s_v2,spot,0.125,USD
standard_nc24ads_a100_v4,dedicated,4,USD
"""


@pytest.fixture(scope="module")
def priced(fleet: Planted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[query.Connection]:
    """A connection with prices."""
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    path.write_text(PRICES)
    with query.connect(fleet.lake, prices=path) as connection:
        yield connection


def price(row: dict[str, Any]) -> tuple[float, str] | None:
    """What the price file says of the node of a row."""
    kind = "dedicated" if row["is_dedicated"] else "spot"
    for line in PRICES.splitlines()[1:]:
        size, of, amount, currency = line.split(",")
        if (size, of) == (row["vm_size"], kind):
            return float(amount), currency
    return None


def seen_nodes(fleet: Planted, pool: str, is_dedicated: bool) -> set[Any]:
    """The nodes of one kind that some listing of a pool showed."""
    of_kind = kinds(fleet)
    return {key for key in fleet.seen if key[0] == pool and of_kind[key] == is_dedicated}


# node_hours


def test_true_node_hours_lie_within_the_bounds_of_node_hours(
    fleet: Planted, lake: query.Connection
) -> None:
    """Of each day, pool, kind and state: from the certain hours to all that are uncertain besides."""
    certain: Counter[Any] = Counter()
    uncertain: Counter[Any] = Counter()
    for row in lake.ask("node_hours").to_pylist():
        group = row["day"], row["pool_id"], row["is_dedicated"]
        certain[*group, row["state"]] += row["certain_hours"]
        uncertain[group] += row["hours"] - row["certain_hours"]
    assert {DAY, MIDNIGHT.date()} == {day for day, *_ in certain}
    for (day, pool, is_dedicated), slack in uncertain.items():
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        among = seen_nodes(fleet, pool, is_dedicated)
        states = {state for *group, state in certain if group == [day, pool, is_dedicated]}
        for state in states - {"unobserved"}:
            true = hours_in(fleet, [state], begin, begin + 24 * HOUR, nodes=among)
            told = certain[day, pool, is_dedicated, state]
            # two seconds a state, at each end: calm has some 1,200 of them
            assert told - 1 <= true <= told + slack + 1, (day, pool, state)


def test_node_hours_of_a_calm_pool_are_those_of_its_nodes(
    fleet: Planted, lake: query.Connection
) -> None:
    """12 nodes, 24 hours, no state but idle and running since the first listing."""
    rows = lake.ask("node_hours", pool="calm", to="2026-11-17").to_pylist()
    assert pytest.approx(12 * 24) == sum(row["hours"] for row in rows)
    assert {"idle", "running", "unobserved"} == {row["state"] for row in rows}
    assert {"calm"} == {row["pool_id"] for row in rows}


def test_node_hours_cost_their_price_but_for_nodes_without_a_machine(
    priced: query.Connection,
) -> None:
    """Preempted and deallocated nodes cost nothing; without a price there is no money."""
    rows = priced.ask("node_hours").to_pylist()
    assert set(UNBILLED) < {row["state"] for row in rows}
    for row in rows:
        amount, currency = price(row) or (None, None)
        if amount is not None and row["state"] in UNBILLED:
            amount = 0.0
        expected = None if amount is None else pytest.approx(amount * row["hours"])
        assert (expected, currency) == (row["cost"], row["currency"])


def test_the_range_of_days_is_half_open(lake: query.Connection) -> None:
    """from is the first day, to the first one not in it; no row of others."""
    days = {
        (start, end): {
            row["day"].day
            for row in lake.ask("node_hours", **{"from": start, "to": end}).to_pylist()
        }
        for start, end in (
            ("2026-11-16", "2026-11-17"),
            ("2026-11-17", None),
            (None, "2026-11-16"),
            ("2026-11-17", "2026-11-17"),
        )
    }
    assert [{16}, {17}, set(), set()] == list(days.values())


# idle


def test_idle_hours_are_within_their_bounds_and_near_the_truth(
    fleet: Planted, priced: query.Connection
) -> None:
    """For each pool and kind. Near: since the first listing, within a fifth, the gap included."""
    rows = priced.ask("idle_cost").to_pylist()
    expected = {(each.pool_id, each.is_dedicated) for each in fleet.memberships}
    assert expected == {(row["pool_id"], row["is_dedicated"]) for row in rows}
    for row in rows:
        among = seen_nodes(fleet, row["pool_id"], row["is_dedicated"])
        true = hours_in(fleet, ["idle"], START, fleet.ended_at, nodes=among)
        assert row["certain_idle_hours"] <= true + 1
        assert true * 0.8 - 0.5 <= row["idle_hours"] <= true * 1.2 + 0.5, row
        begin = datetime(2026, 11, 16, tzinfo=UTC)
        states = {each.state for each in fleet.states} - set(UNBILLED)
        paid = hours_in(fleet, states, begin, fleet.ended_at, nodes=among)
        # what came before the truth log is in it: nodes of that time have no states before 04:00
        before = sum((at("04:15") - max(key[2], begin)) / HOUR for key in among if key[2] < START)
        assert paid - 2 <= row["paid_hours"] <= paid + before + 2, row
        assert row["idle_share"] == pytest.approx(row["idle_hours"] / row["paid_hours"])


def test_idle_money_is_hours_times_price_in_one_currency_a_row(
    fleet: Planted, priced: query.Connection, lake: query.Connection
) -> None:
    """By currency the sums are those of Python; without prices the hours are the same, and no money."""
    rows = priced.ask("idle_cost").to_pylist()
    sums: Counter[str] = Counter()
    for row in rows:
        amount, currency = price(row) or (None, None)
        assert currency == row["currency"]
        if amount is None:
            assert row["idle_cost"] is None
            continue
        sums[str(currency)] += row["idle_cost"]
        assert pytest.approx(amount * row["idle_hours"]) == row["idle_cost"]
    assert {"EUR", "USD"} == set(sums)
    render = [row for row in rows if row["pool_id"] == "render"]
    assert pytest.approx(sum(row["idle_hours"] for row in render) * 0.25) == sums["EUR"]
    costs = [row["idle_cost"] for row in rows]
    assert [*sorted((c for c in costs if c is not None), reverse=True), None] == costs
    free = lake.ask("idle_cost").to_pylist()
    assert {(None, None)} == {(row["idle_cost"], row["currency"]) for row in free}
    hours = {(row["pool_id"], row["is_dedicated"]): row["idle_hours"] for row in rows}
    assert pytest.approx(hours) == {
        (row["pool_id"], row["is_dedicated"]): row["idle_hours"] for row in free
    }


def test_every_long_idle_streak_is_found_and_is_true(
    fleet: Planted, priced: query.Connection
) -> None:
    """Starts exact, the end within its bounds, and none that lasted 25 minutes is missing."""
    least = 25 / 60
    rows = priced.ask("idle_streaks", hours=least).to_pylist()
    truth = {
        (*incarnation(each), each.started_at): each for each in fleet.states if each.state == "idle"
    }
    found = set()
    for row in rows:
        key = row["pool_id"], row["node_id"], row["allocation_time"], row["started_at"]
        found.add(key)
        end = truth[key].ended_at
        assert row["is_idle_still"] == (row["ended_before"] is None)
        if row["is_idle_still"]:
            assert end is None or end > row["ended_after"] - ALLOWED
        else:
            assert end is not None
            assert row["ended_after"] - ALLOWED <= end <= row["ended_before"] + ALLOWED
        assert pytest.approx((row["ended_after"] - row["started_at"]) / HOUR) == row["idle_hours"]
        amount, currency = price(row) or (None, None)
        cost = None if amount is None else pytest.approx(amount * row["idle_hours"])
        assert (cost, currency) == (row["idle_cost"], row["currency"])
    expected = set()
    for key, each in truth.items():
        shown = [
            when
            for when in fleet.seen.get(incarnation(each), ())
            if each.started_at <= when < (each.ended_at or fleet.ended_at + HOUR)
        ]
        if shown and shown[-1] - each.started_at >= least * HOUR + ALLOWED:
            expected.add(key)
    assert expected
    assert expected <= found
    assert sorted((row["idle_hours"] for row in rows), reverse=True) == [
        row["idle_hours"] for row in rows
    ]


def test_idle_streaks_are_clipped_to_the_range(lake: query.Connection) -> None:
    """A streak that began before from counts from it; one that goes on after to ends there."""
    whole = lake.ask("idle_streaks", hours=0.4).to_pylist()[0]
    middle = whole["started_at"] + (whole["ended_after"] - whole["started_at"]) / 2
    for limit in ("from", "to"):
        half = [
            row["idle_hours"]
            for row in lake.ask("idle_streaks", **ALL_STREAKS, **{limit: middle}).to_pylist()
            if (row["node_id"], row["started_at"]) == (whole["node_id"], whole["started_at"])
        ]
        assert [pytest.approx(whole["idle_hours"] / 2)] == half


def test_idle_streaks_are_the_longest(lake: query.Connection) -> None:
    """Asked for three, it names the three longest."""
    whole = lake.ask("idle_streaks", **ALL_STREAKS).to_pylist()
    assert whole[:3] == lake.ask("idle_streaks", hours=0, rows=3).to_pylist()


# broken


def test_broken_hours_are_the_truth_and_accuse_no_calm_pool(
    fleet: Planted, priced: query.Connection
) -> None:
    """Each state of each pool that really was; hours within their bounds, money their price."""
    rows = priced.ask("broken_cost").to_pylist()
    told = {(row["pool_id"], row["is_dedicated"], row["state"]): row for row in rows}
    uncertain: Counter[Any] = Counter()
    for row in priced.ask("node_hours").to_pylist():
        uncertain[row["pool_id"], row["is_dedicated"]] += row["hours"] - row["certain_hours"]
    shown = defaultdict(set)
    of_kind = kinds(fleet)
    for each in fleet.states:
        when = fleet.seen.get(incarnation(each), ())
        end = each.ended_at or fleet.ended_at + HOUR
        if each.state in BROKEN and any(each.started_at <= moment < end for moment in when):
            group = each.pool_id, of_kind[incarnation(each)], each.state
            shown[group].add(incarnation(each))
    assert set(shown) == set(told)
    assert "calm" not in {pool for pool, *_ in told}
    for (pool, is_dedicated, state), row in told.items():
        among = seen_nodes(fleet, pool, is_dedicated)
        begin = datetime(2026, 11, 16, tzinfo=UTC)
        true = hours_in(fleet, [state], begin, fleet.ended_at, nodes=among)
        assert row["certain_broken_hours"] <= true + 0.1
        assert true <= row["certain_broken_hours"] + uncertain[pool, is_dedicated] + 0.1
        # near: but for the gap, and what was over before the first listing
        near = hours_in(fleet, [state], START, fleet.ended_at, nodes=among)
        assert near * 0.7 - 0.2 <= row["broken_hours"] <= true + 0.2, row
        amount, currency = price(row) or (None, None)
        assert pytest.approx(row["broken_hours"] * amount) == row["broken_cost"]
        assert currency == row["currency"]
    paid = {
        (row["pool_id"], row["is_dedicated"]): row["paid_hours"]
        for row in priced.ask("idle_cost").to_pylist()
    }
    for (pool, is_dedicated, _), row in told.items():
        share = row["broken_hours"] / paid[pool, is_dedicated]
        assert pytest.approx(share) == row["share_of_paid_hours"]


def test_most_of_the_unusable_hours_are_the_flapping_nodes(
    fleet: Planted, lake: query.Connection
) -> None:
    """The planted node stands out: its flaps are listed, 10 minutes each."""
    (row,) = [
        row
        for row in lake.ask("broken_cost", pool="render").to_pylist()
        if row["state"] == "unusable"
    ]
    flapping = hours_in(fleet, ["unusable"], START, fleet.ended_at, nodes=[fleet.odd("flapping")])
    assert flapping > 1
    assert row["broken_hours"] >= flapping * 0.7


# usage_reconciliation


def test_the_service_agrees_where_the_cores_are_known(
    fleet: Planted, lake: query.Connection
) -> None:
    """Its core-hours are the truth of the emulator's own count, and within the bounds of ours."""
    rows = lake.ask("usage_reconciliation", to="2026-11-17").to_pylist()
    expected = {
        "calm": (None, None, "vcpus unknown"),
        "render": (4, "name", "agrees"),
        "spot": (16, "name", "agrees"),
        "training": (24, "name", "agrees"),
    }
    assert expected == {
        row["pool_id"]: (row["vcpus"], row["vcpus_from"], row["verdict"]) for row in rows
    }
    billed = {each.state for each in fleet.states} - set(UNBILLED)
    everyone = {incarnation(each) for each in fleet.memberships}
    for row in rows:
        if row["vcpus"] is None:
            assert row["core_hours"] is None
            continue
        among = {key for key in everyone if key[0] == row["pool_id"]}
        true = hours_in(fleet, billed, at("04:30"), MIDNIGHT, nodes=among) * row["vcpus"]
        since_midnight = 4.5 * len([key for key in among if key[2] < START]) * row["vcpus"]
        assert true - 1 <= row["service_core_hours"] <= true + since_midnight + 1
        assert row["least_core_hours"] <= row["core_hours"] <= row["most_core_hours"]
        # far nearer than the bounds: deallocated hours alone would be 7 percent of training's
        assert pytest.approx(row["service_core_hours"], rel=0.01) == row["core_hours"]
        assert (
            pytest.approx(row["core_hours"] - row["service_core_hours"])
            == (row["difference_core_hours"])
        )


def test_a_day_without_usage_is_no_difference(lake: query.Connection) -> None:
    """The second day was not fetched."""
    rows = lake.ask("usage_reconciliation", **{"from": "2026-11-17"}).to_pylist()
    assert {("no usage fetched", None)} == {
        (row["verdict"], row["service_core_hours"]) for row in rows
    }
    assert {"calm", "render", "spot"} == {row["pool_id"] for row in rows}


def test_the_price_files_vcpus_come_before_the_name(fleet: Planted, tmp_path: Path) -> None:
    """A size without a number gets its cores from the file; wrong ones there show as a difference."""
    path = tmp_path / "prices.csv"
    path.write_text(
        "vm_size,kind,price_per_hour,currency,vcpus\n"
        "standard_custom_v1,dedicated,1,EUR,1\n"
        "Standard_D4s_v5,spot,1,EUR,8\n"
    )
    with query.connect(fleet.lake, prices=path) as connection:
        rows = connection.ask("usage_reconciliation", to="2026-11-17").to_pylist()
    told = {row["pool_id"]: (row["vcpus"], row["vcpus_from"], row["verdict"]) for row in rows}
    assert (1, "price file", "agrees") == told["calm"]
    assert (8, "price file", "differs") == told["render"]
    assert (16, "name", "agrees") == told["spot"]


SIZES = {
    "standard_d4s_v5": 4,
    "Standard_NC24ads_A100_v4": 24,
    "standard_e32-16s_v5": 16,
    "standard_m416-208s_v2": 208,
    "standard_m8-2ms": 2,
    "standard_hb120-16rs_v3": 16,
    "standard_d2_v3": 2,
    "standard_f72s_v2": 72,
    "standard_b1ls": 1,
    "standard_dc48ads_cc_v5": 48,
    "standard_nc6_promo": 6,
    "standard_a8_v2": 8,
    "standard_a4m_v2": 4,
    # sizes whose number is an order
    "basic_a1": 1,
    "basic_a3": 4,
    "standard_a1": 1,
    "standard_a5": 2,
    "standard_a11": 16,
    "standard_d1_v2": 1,
    "standard_d3_v2": 4,
    "standard_ds14": 16,
    "standard_ds3_v2_promo": 4,
    "standard_d15i_v2": 20,
    "standard_ds11-1_v2": 1,
    "standard_gs5": 32,
    "standard_gs5-8": 8,
    # sizes that do not show it
    "small": None,
    "standard_custom_v1": None,
    "standard_d99_v2": None,
}


def test_cores_are_read_from_the_name_of_a_size_and_never_guessed(tmp_path: Path) -> None:
    """Numbers as the list of Azure's sizes has them (learn.microsoft.com, virtual machine sizes)."""
    lake = Lake(tmp_path)
    nodes = [node(f"n{i}", vm_size=size) for i, size in enumerate(SIZES)]
    for when in ("00:00", "00:05"):
        put(lake, when, {"p": nodes})
    with query.connect(lake) as connection:
        rows = connection.ask("usage_reconciliation").to_pylist()
    assert {size.lower(): vcpus for size, vcpus in SIZES.items()} == {
        row["vm_size"]: row["vcpus"] for row in rows
    }
    assert {vcpus and "name" for vcpus in SIZES.values()} == {row["vcpus_from"] for row in rows}
    hour = timedelta(minutes=5) / HOUR
    assert all(pytest.approx(hour) == row["node_hours"] for row in rows)


# ranges and pools, of every question of this pack

#: What adds up over disjoint ranges, and over pools.
ADDITIVE = {
    "node_hours": ("hours", "certain_hours"),
    "idle_cost": ("idle_hours", "certain_idle_hours", "paid_hours"),
    "broken_cost": ("broken_hours", "certain_broken_hours"),
    "idle_streaks": ("idle_hours",),
    "boot_latency": ("nodes",),
    "start_task_durations": ("runs", "succeeded", "failed", "uncertain_runs"),
    "preemptions": ("preemptions", "recovered", "node_hours"),
    "preemptions_by_hour": ("preemptions", "node_hours"),
    "usage_reconciliation": ("node_hours", "service_core_hours"),
    "census": ("listings",),
}


#: However short, however many.
ALL_STREAKS = {"hours": 0, "rows": 1_000_000}


def summed(lake: query.Connection, name: str, **parameters: object) -> list[float]:
    """The sums of what adds up; idle streaks of any length."""
    given = ALL_STREAKS if name == "idle_streaks" else {}
    rows = lake.ask(name, **given, **parameters).to_pylist()
    return [sum(row[column] or 0 for row in rows) for column in ADDITIVE[name]]


@pytest.mark.parametrize("name", ADDITIVE)
def test_two_ranges_add_up_to_the_whole(lake: query.Connection, name: str) -> None:
    """What lies before midnight and what lies after it, nothing twice and nothing lost."""
    whole = summed(lake, name)
    before = summed(lake, name, to="2026-11-17")
    after = summed(lake, name, **{"from": "2026-11-17"})
    both = [sum(pair) for pair in zip(before, after, strict=True)]
    assert pytest.approx(whole, abs=1e-6) == both
    assert any(before)
    assert any(after)


@pytest.mark.parametrize("name", ADDITIVE)
def test_the_pools_add_up_to_the_whole(lake: query.Connection, name: str) -> None:
    """pool= gives the rows of that pool and no others."""
    pools = [summed(lake, name, pool=pool) for pool in ("render", "spot", "training", "calm")]
    assert pytest.approx(summed(lake, name), abs=1e-6) == [
        sum(each) for each in zip(*pools, strict=True)
    ]
    assert 0 == sum(summed(lake, name, pool="' or true --"))


@pytest.mark.parametrize("name", ADDITIVE)
def test_no_row_occurs_twice(lake: query.Connection, name: str) -> None:
    """The grain that the header says is that of the rows."""
    keys = (
        *("account", "day", "pool_id", "node_id", "allocation_time", "vm_size", "is_dedicated"),
        *("state", "started_at", "start_task_definition_id", "image", "step", "hour_of_day"),
    )
    found = [
        tuple(row.get(key) for key in keys)
        for row in lake.ask(name, **(ALL_STREAKS if name == "idle_streaks" else {})).to_pylist()
    ]
    assert len(found) == len(set(found)) > 0
