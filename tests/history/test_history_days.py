"""Days made apart and joined: the same answer from history files, from rows, and from both."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline import query
from pipeline.lake import Lake, View
from pipeline.maintain import build_facts
from pipeline.query import history
from pipeline.schema import facts
from tests.lakes import FAILED, MONDAY, Listing, at, node, put, task

ACCOUNT = "acc"
DAYS = tuple(MONDAY.date() + timedelta(days=number) for number in range(4))


class Kept(Lake):
    """A lake with history files of some days, as the compaction leaves them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "lake")
        self.folder = root / "facts"
        self.days: set[date] = set()

    def keep(self, day: date) -> None:
        """Makes the facts of a day from the rows as they are now."""
        with query.connect(self) as connection:
            for fact, rows in build_facts.build_day(connection, ACCOUNT, day):
                folder = self.folder / fact / f"date={day}"
                folder.mkdir(parents=True, exist_ok=True)
                pq.write_table(rows.read_all(), folder / f"{ACCOUNT}.parquet")
        self.days.add(day)

    def forget(self, days: Iterable[date]) -> None:
        """History of these days holds no more."""
        self.days.difference_update(days)

    def view(self) -> View:
        """The lake's, with these files."""
        files = {
            fact: tuple(
                str(self.folder / fact / f"date={day}" / f"{ACCOUNT}.parquet")
                for day in sorted(self.days)
            )
            for fact in history.FACTS
            if self.days
        }
        days = tuple((ACCOUNT, day) for day in sorted(self.days))
        return replace(super().view(), history=files, history_days=days)


def answers(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """Every fact's rows, sorted; hours to a tenth of a second."""
    found = {}
    with query.connect(lake) as connection:
        for name in history.FACTS:
            rows = connection.table(f"from {name}").to_pylist()
            plain = [
                tuple(round(v, 5) if isinstance(v, float) else v for v in row.values())
                for row in rows
            ]
            found[name] = sorted(plain, key=repr)
    return found


def assert_same(expected: Lake, actual: Lake) -> None:
    """Both answer every fact alike."""
    one, other = answers(expected), answers(actual)
    for name in history.FACTS:
        assert one[name] == other[name], name


STATES = ("creating", "idle", "running", "unusable", "leavingpool")
#: A spot node's.
SPOT_STATES = ("creating", "idle", "running", "preempted", "deallocated")


class Life:
    """A made-up pool that changes between listings: nodes come, go, fail, work, reuse ids."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.nodes: dict[str, dict[str, Any]] = {}
        self.number = 0

    def move(self, clock: str) -> None:
        """Lets things happen by this time."""
        rng = self.rng
        for name in ("a", "b", "c"):
            known = self.nodes.get(name)
            if known is None:
                if rng.random() < 0.4:
                    self.nodes[name] = {"allocated": clock, "state": "creating", "since": clock,
                                        "total": 0, "tasks": [], "errors": []}  # fmt: skip
                continue
            if rng.random() < 0.08:
                del self.nodes[name]
                continue
            if rng.random() < 0.4:
                states = SPOT_STATES if name == "c" else STATES
                known |= {"state": rng.choice(states), "since": clock}
            known["tasks"] = [t for t in known["tasks"] if rng.random() < 0.7]
            for each in known["tasks"]:
                if each["end_time"] is None and rng.random() < 0.6:
                    failed = {"exit_code": 1, "result": "failure"} if rng.random() < 0.3 else {}
                    each |= task(each["task_id"], None, clock, **failed) | {
                        "start_time": each["start_time"]
                    }
                    known["total"] += 1
            if rng.random() < 0.5:
                self.number += 1
                known["tasks"].append(task(f"t{self.number}", clock))
            if rng.random() < 0.2:
                known["total"] += rng.randint(1, 3)
            known["errors"] = ["DiskFull"] if rng.random() < 0.3 else []
            known["agent"] = rng.choice(("1", "2")) if rng.random() < 0.1 else known.get("agent")
            if rng.random() < 0.15:
                known |= {"boot": clock, "definition": rng.choice("xy")}

    def listing(self) -> Listing:
        """The pool as listed now: mostly whole, at times not."""
        rng = self.rng
        nodes = []
        for name, known in self.nodes.items():
            if rng.random() < 0.05:
                continue  # a page is no point in time
            if rng.random() < 0.05:
                nodes.append(node(name, None, None, allocated=None, is_malformed=True))
                continue
            more: dict[str, Any] = {}
            if "boot" in known:
                more = {
                    "last_boot_time": known["boot"],
                    "start_task_start_time": known["boot"],
                    "start_task_definition_id": known["definition"],
                }
            made = node(
                name,
                known["state"],
                known["since"],
                allocated=None if rng.random() < 0.05 else known["allocated"],
                tasks=[dict(each) for each in known["tasks"]],
                errors=known["errors"],
                total_tasks_run=known["total"],
                node_agent_version=known.get("agent"),
                is_dedicated=name != "c",
                **more,
            )
            nodes.append(made)
        drawn = rng.random()
        if drawn < 0.1:
            return FAILED
        return Listing(nodes, "partial" if drawn < 0.2 else "complete")


def live(lakes: Iterable[Lake], rng: random.Random) -> list[tuple[Any, ...]]:
    """The same four days in each lake; returns what late snapshots may show, to be put in later."""
    pools = {"p": Life(rng), "q": Life(rng)}
    late = []
    for day in range(4):
        quiet = rng.random() < 0.2  # a day on which nothing was polled
        # two listings of a node in one second have no order
        for half in (0, 1, 2, 12, 24, 25, 36, 46, 47):
            clock = f"{day} {half // 2:02}:{half % 2 * 30 + rng.randint(0, 29):02}"
            for life in pools.values():
                life.move(clock)
            shown = {name: life.listing() for name, life in pools.items() if rng.random() < 0.95}
            kind = {"scope": "pools"} if rng.random() < 0.1 else {}
            if quiet or rng.random() < 0.1:
                late.append((clock, shown, kind))
                continue
            for lake in lakes:
                put(lake, clock, shown, **kind)
    return late


@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(4, marks=pytest.mark.ci),
        *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 30)),
    ],
)
def test_history_and_rows_answer_alike(tmp_path: Path, seed: int) -> None:
    """Whatever days history holds, in whatever order they were closed, before and after late files."""
    rng = random.Random(seed)
    plain, kept = Lake(tmp_path / "plain"), Kept(tmp_path)
    late = live((plain, kept), rng)
    order = rng.sample(DAYS, 3)
    for day in order:
        kept.keep(day)
    assert_same(plain, kept)
    # Late files: the days they touch are answered from rows, and then rebuilt.
    ids = []
    for clock, shown, kind in late[:4]:
        put(plain, clock, shown, **kind)
        ids.append(put(kept, clock, shown, **kind))
    with query.connect(kept) as connection:
        windows = build_facts.windows(connection, ACCOUNT)
    touched = [day for day, around in windows.items() if not around.isdisjoint(ids)]
    kept.forget(touched)
    assert_same(plain, kept)
    for day in touched:
        kept.keep(day)
    assert_same(plain, kept)


@pytest.mark.ci
@pytest.mark.parametrize("seed", [7])
def test_an_answer_is_right_the_moment_a_snapshot_is_committed(tmp_path: Path, seed: int) -> None:
    """History made before the listings after its day came is not believed once they are there."""
    rng = random.Random(seed)
    plain, kept = Lake(tmp_path / "plain"), Kept(tmp_path)
    pools = {"p": Life(rng), "q": Life(rng)}
    for hour in (3, 9, 15, 23):
        for life in pools.values():
            life.move(f"{hour:02}:30")
        shown = {name: life.listing() for name, life in pools.items()}
        for lake in (plain, kept):
            put(lake, f"{hour:02}:30", shown)
    kept.keep(DAYS[0])
    for clock in ("1 08:00", "2 08:00", "2 09:00"):
        for life in pools.values():
            life.move(clock)
        shown = {name: life.listing() for name, life in pools.items()}
        for lake in (plain, kept):
            put(lake, clock, shown)
        assert_same(plain, kept)


def test_a_days_listings_reach_from_the_last_proof_before_it_to_the_second_after_it(
    tmp_path: Path,
) -> None:
    """However far off, and whatever lies between; each pool on its own."""
    lake = Lake(tmp_path / "lake")
    names = {}
    for when, listing in (
        ("10:00", Listing()),
        ("11:00", Listing()),
        ("11:30", FAILED),
        ("12:00", Listing(listing="partial")),
        ("2 10:00", Listing(listing="partial")),
        ("3 10:00", Listing()),
        ("3 11:00", Listing()),
        ("3 12:00", Listing()),
    ):
        names[put(lake, when, {"p": listing}, pool_listing="partial")] = when
    with query.connect(lake) as connection:
        found = {
            (day - DAYS[0]).days: sorted(names[snapshot_id] for snapshot_id in ids)
            for day, ids in build_facts.windows(connection, ACCOUNT).items()
        }
    between = ["11:00", "12:00", "2 10:00", "3 10:00", "3 11:00"]
    assert found == {
        0: ["10:00", *between],
        1: between,
        2: between,
        3: ["11:00", "12:00", "2 10:00", "3 10:00", "3 11:00", "3 12:00"],
    }


@pytest.mark.ci
def test_a_pool_whose_listings_prove_nothing_does_not_read_its_whole_past(tmp_path: Path) -> None:
    """No more than 100 listings on each side: a day's work does not grow with the lake's age."""
    lake = Lake(tmp_path / "lake")
    for day in range(3):
        for minute in range(120):
            clock = f"{day} {minute // 60:02}:{minute % 60:02}"
            put(lake, clock, {"p": Listing(listing="partial")}, pool_listing="partial")
    with query.connect(lake) as connection:
        sizes = [len(ids) for ids in build_facts.windows(connection, ACCOUNT).values()]
    assert sizes == [220, 320, 220]


def test_a_pool_that_is_gone_does_not_burden_later_days(tmp_path: Path) -> None:
    """Its absence follows from the account listings next to it, not by every later one."""
    lake = Lake(tmp_path / "lake")
    put(lake, "10:00", {"p": [node("a")], "q": []})
    for day in range(1, 4):
        for hour in (1, 2, 3):
            put(lake, f"{day} {hour:02}:00", {"q": []})
    with query.connect(lake) as connection:
        made = connection.table(
            "select date, count(*) as n from (from node_hours where state = 'idle') "
            "group by 1 order by 1"
        ).to_pylist()
        assert made == [{"date": DAYS[0], "n": 1}]
        assert connection.table("from node_incarnations")["ended_before"].to_pylist() == [
            at("1 01:00")
        ]


def test_what_a_day_builds_has_the_declared_schema_and_is_sorted(tmp_path: Path) -> None:
    """Every fact, each under its schema, docs in its fields, sorted by key; nothing is left behind."""
    lake = Lake(tmp_path / "lake")
    live([lake], random.Random(1))
    with query.connect(lake) as connection:
        before = connection.table("from duckdb_databases() select database_name").to_pylist()
        made = {
            name: reader.read_all()
            for name, reader in build_facts.build_day(connection, ACCOUNT, DAYS[1])
        }
        assert (
            connection.table("from duckdb_databases() select database_name").to_pylist() == before
        )
    assert tuple(made) == history.FACTS
    for name, table in made.items():
        assert table.schema.equals(facts.FACTS[name].schema, check_metadata=True), name
        # this lake's pools have no errors: tests/questions/test_pool_errors.py builds those
        assert table.num_rows > 0 or name == "pool_error_episodes", name
    keys = made["node_states"].to_pylist()
    ordered = [
        (not k["is_abnormal"], k["pool_id"], k["node_id"], str(k["allocation_time"] or "~"))
        for k in keys
    ]
    assert ordered == sorted(ordered)


def test_a_day_of_another_account_builds_nothing(tmp_path: Path) -> None:
    """Accounts are apart; a day without a listing is empty."""
    lake = Lake(tmp_path / "lake")
    put(lake, "10:00", {"p": [node("a")]})
    with query.connect(lake) as connection:
        for account, day in (("other", DAYS[0]), (ACCOUNT, DAYS[2])):
            for name, reader in build_facts.build_day(connection, account, day):
                assert reader.read_all().num_rows == 0, name


def test_a_gap_of_more_than_a_month_is_no_part_of_the_record(tmp_path: Path) -> None:
    """Up to 31 days every day of a gap has its hours; an old import does not make a thousand days."""
    for days, expected in ((31, 32), (32, 2)):
        lake = Lake(tmp_path / str(days))
        for day in (0, days):
            put(lake, f"{day} 12:00", {"p": [node("a")]})
        with query.connect(lake) as connection:
            assert connection.table("select distinct date from node_hours").num_rows == expected


@pytest.mark.parametrize(
    "listings",
    [
        ("1 00:10", "1 00:20"),
        pytest.param(("1 09:00", "2 09:00", "3 09:00"), marks=pytest.mark.ci),
        pytest.param(("6 12:00", "9 12:00"), marks=pytest.mark.ci),
    ],
    ids=["at once", "daily", "after a gap"],
)
def test_an_account_whose_last_pool_is_gone_ends_at_once(
    tmp_path: Path, listings: tuple[str, ...]
) -> None:
    """A complete listing of no pool proves that all are gone, whatever history holds by then."""
    plain, kept = Lake(tmp_path / "plain"), Kept(tmp_path)

    def found(lake: Lake) -> list[list[tuple[Any, ...]]]:
        with query.connect(lake) as connection:
            return [
                connection.sql(f"from {name} order by all").fetchall()
                for name in (
                    "(select ended_before, ended_by, * from node_lifetimes)",
                    "node_states",
                    "node_hours",
                )
            ]

    for lake in (plain, kept):
        for clock in ("12:00", "23:55"):
            put(lake, clock, {"p": [node("a")]})
    kept.keep(DAYS[0])
    for clock in listings:
        for lake in (plain, kept):
            put(lake, clock, {})
        told = found(plain)
        assert [(at(listings[0]), "pool_absent")] == [row[:2] for row in told[0]]
        assert found(kept) == told
        kept.forget(DAYS)
        kept.keep(DAYS[0])
        kept.keep(at(clock).date())
        assert found(kept) == told


@pytest.mark.parametrize(
    ("scope", "source", "pool_listing"),
    [
        ("pools", "live", "complete"),
        ("account", "live", "partial"),
        ("account", "usage", "complete"),
    ],
)
def test_what_is_no_listing_of_an_accounts_pools_ends_nothing(
    tmp_path: Path, scope: str, source: str, pool_listing: str
) -> None:
    """A run of some pools, one that broke off, and one of usage."""
    lake = Lake(tmp_path / "lake")
    put(lake, "12:00", {"p": [node("a")]})
    for clock in ("1 12:00", "1 13:00"):
        put(lake, clock, {}, scope=scope, source=source, pool_listing=pool_listing)
    with query.connect(lake) as connection:
        assert connection.table("from record_days").num_rows == 1
        ended = connection.table("select ended_before from node_lifetimes")
        assert ended.to_pylist() == [{"ended_before": None}]


def test_a_refreshed_connection_sees_new_snapshots_in_every_fact(tmp_path: Path) -> None:
    """And before that, its facts stay what they were, whichever were asked for first."""
    lake = Lake(tmp_path / "lake")
    put(lake, "10:00", {"p": [node("a")]})

    def lives(connection: query.Connection) -> list[int]:
        counts = "select count(*) as n from "
        return [
            connection.table(counts + name)["n"][0].as_py()
            for name in ("node_incarnations", "node_states")
        ]

    with query.connect(lake) as connection:
        assert connection.table("from node_boots").num_rows == 0
        assert lives(connection) == [1, 1]
        put(lake, "10:05", {"p": [node("a", "running", "10:02"), node("b")]})
        assert lives(connection) == [1, 1]
        connection.refresh()
        assert lives(connection) == [2, 3]


def test_init_sql_opens_the_facts_in_any_duckdb(tmp_path: Path) -> None:
    """The statements alone, in a plain connection, answer alike."""
    lake = Lake(tmp_path / "lake")
    live([lake], random.Random(2))
    plain = duckdb.connect()
    plain.execute("set TimeZone = 'UTC'")
    for statement in query.statements(lake.view()):
        plain.execute(statement)
    with query.connect(lake) as connection:
        for name in history.FACTS:
            counted = f"select count(*) from {name}"
            assert (
                plain.execute(counted).fetchone() == connection.duckdb.execute(counted).fetchone()
            )
        for name in ("node_states", "task_runs"):
            whole = f"from {name} order by all"
            rows = plain.execute(whole).fetchall()
            assert rows == connection.duckdb.execute(whole).fetchall() != []


def test_a_listing_over_midnight_proves_an_absence_as_any_other(tmp_path: Path) -> None:
    """Its first page shows a node before midnight that then goes: rows and history say when."""
    plain, kept = Lake(tmp_path / "plain"), Kept(tmp_path)
    for lake in (plain, kept):
        put(lake, "23:50", {"p": [node("a"), node("b")]})
        crossing = Listing(
            [
                node("a") | {"observed_at": at("23:59:58")},
                node("b") | {"observed_at": at("1 00:00:02")},
            ],
            started="23:59:58",
            finished="1 00:00:02",
        )
        put(lake, "23:59:57", {"p": crossing})
        for minute in ("05", "10", "15"):
            put(lake, f"1 00:{minute}", {"p": [node("b")]})
    kept.keep(DAYS[0])
    kept.keep(DAYS[1])
    assert_same(plain, kept)
    for lake in (plain, kept):
        with query.connect(lake) as connection:
            gone = connection.table(
                "select ended_after, ended_before from node_incarnations where node_id = 'a'"
            ).to_pylist()
            assert gone == [{"ended_after": at("23:59:58"), "ended_before": at("1 00:05")}]
            (hours,) = connection.table(
                "select sum(hours) as hours from node_hours where date = date '2026-11-16'"
            ).to_pylist()
            assert round(hours["hours"] * 3600) == 2 * 24 * 3600
            (left,) = connection.ask("census").to_pylist()
            assert left["left_pool"] == 1


def test_whose_a_row_is_does_not_hang_on_the_day(tmp_path: Path) -> None:
    """Rows without an allocation around midnight: a later listing, out of both windows, says."""
    plain, kept = Lake(tmp_path / "plain"), Kept(tmp_path)
    bare = node("a", "idle", "22:00", allocated=None)
    for lake in (plain, kept):
        for clock in ("23:50", "23:55", "1 00:00", "1 00:05", "1 00:10"):
            put(lake, clock, {"p": [bare]})
        put(lake, "1 09:00", {"p": [node("a", "idle", "22:00", allocated="21:00")]})
        put(lake, "1 09:05", {"p": [node("a", "idle", "22:00", allocated="21:00")]})
    kept.keep(DAYS[0])
    kept.keep(DAYS[1])
    assert_same(plain, kept)
    with query.connect(kept) as connection:
        (only,) = connection.table("from node_incarnations").to_pylist()
        assert only["allocation_time"] == at("21:00")
        ids = build_facts.windows(connection, ACCOUNT)[DAYS[0]]
    assert {each[:13] for each in ids} == {
        "20261116T2350", "20261116T2355", "20261117T0000", "20261117T0005", "20261117T0900",
    }  # fmt: skip


def test_a_row_is_never_of_a_machine_that_was_allocated_later(tmp_path: Path) -> None:
    """The nearest allocation that is not later than the row, 2 seconds allowed."""
    lake = Lake(tmp_path / "lake")
    put(lake, "10:00", {"p": [node("a", allocated=None)]})
    put(lake, "10:05", {"p": [node("a", allocated="10:00:02")]})
    put(lake, "10:10", {"q": [node("b", allocated=None)], "p": []})
    put(lake, "10:15", {"q": [node("b", allocated="10:10:03")]})
    with query.connect(lake) as connection:
        found = connection.table(
            "select node_id, allocation_time from node_incarnations order by all"
        ).to_pylist()
    assert [(row["node_id"], row["allocation_time"]) for row in found] == [
        ("a", at("10:00:02")),
        ("b", at("10:10:03")),
        ("b", None),
    ]


def test_a_node_without_an_allocation_has_hours_on_an_unpolled_day(tmp_path: Path) -> None:
    """Two sightings of one state, a day without a listing between: one machine all the while."""
    plain, kept = Lake(tmp_path / "plain"), Kept(tmp_path)
    bare = node("a", "idle", "22:00", allocated=None)
    for lake in (plain, kept):
        for clock in ("23:50", "2 10:00", "2 10:05"):
            put(lake, clock, {"p": [bare]})
    kept.keep(DAYS[1])
    assert_same(plain, kept)
    with query.connect(kept) as connection:
        found = connection.table("select date, hours from node_hours order by date").to_pylist()
    assert [(row["date"], round(row["hours"], 4)) for row in found] == [
        (DAYS[0], 2),
        (DAYS[1], 24),
        (DAYS[2], round(10 + 5 / 60, 4)),
    ]
