"""The views and what they mean, on rows written by hand; and what a connection promises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline import query, schema
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, new_snapshot_id
from pipeline.query import history
from pipeline.snapshot.ledger import Ledger, Listing
from tests.service import make_service, rows

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def minutes(count: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=count)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def store(
    lake: Lake,
    at: datetime,
    pools: dict[str, tuple[Listing, Sequence[str]]],
    *,
    scope: str = "account",
    pool_listing: Listing = "complete",
    account: str = "a.r",
) -> str:
    """A snapshot of pools by name, each with how its listing went and its nodes."""
    origin = Origin(account, new_snapshot_id(at), at)
    ledger = Ledger(origin, at, "live", scope, pool_listing=pool_listing)  # type: ignore[arg-type]
    ledger.status = "complete"
    ledger.pool_listing_finished_at = at
    keys = {"account": account, "snapshot_id": origin.snapshot_id, "snapshot_at": at}
    pool_rows = [
        keys | {"pool_id": pool, "listing": listing, "listing_finished_at": at}
        for pool, (listing, _) in pools.items()
    ]
    node_rows = [
        keys | {"pool_id": pool, "node_id": node, "observed_at": at, "is_malformed": False}
        for pool, (_, nodes) in pools.items()
        for node in nodes
    ]
    with lake.writer(origin.snapshot_id, account) as writer:
        for name, made in (("pools", pool_rows), ("nodes", node_rows)):
            writer.write({name: pa.Table.from_pylist(made, schema.TABLES[name].schema)})
        writer.commit(ledger.table(at))
    return origin.snapshot_id


def fleet(lake: Lake, at: datetime | None = None) -> list[tuple[str, str, float]]:
    """Pool, node and age of the fleet at a moment, or now."""
    source = f"nodes_at('{at.isoformat()}')" if at else "nodes_latest"
    found = rows(lake, f"select pool_id, node_id, age_seconds from {source} order by 1, 2")
    return [(row["pool_id"], row["node_id"], row["age_seconds"]) for row in found]


def test_the_fleet_is_each_pools_last_complete_listing(lake: Lake) -> None:
    """A partial or failed listing since then does not change it, but its age grows."""
    store(lake, minutes(0), {"p": ("complete", ["a", "b"]), "q": ("complete", ["c"])})
    store(lake, minutes(5), {"p": ("partial", ["a"]), "q": ("complete", [])})
    assert fleet(lake, minutes(5)) == [("p", "a", 300), ("p", "b", 300)]
    assert fleet(lake, minutes(0)) == [("p", "a", 0), ("p", "b", 0), ("q", "c", 0)]
    assert fleet(lake, minutes(-1)) == []


def test_a_pool_that_a_later_complete_account_listing_lacks_is_gone(lake: Lake) -> None:
    """Its nodes are gone with it; a run limited to some pools says nothing of the others."""
    store(lake, minutes(0), {"p": ("complete", ["a"]), "q": ("complete", ["c"])})
    store(lake, minutes(5), {"p": ("complete", ["a"])}, scope="pools")
    assert [pool for pool, _, _ in fleet(lake, minutes(6))] == ["p", "q"]
    store(lake, minutes(10), {"p": ("complete", ["a"])}, pool_listing="partial")
    assert [pool for pool, _, _ in fleet(lake, minutes(11))] == ["p", "q"]
    store(lake, minutes(15), {"p": ("failed", [])})
    assert [pool for pool, _, _ in fleet(lake, minutes(16))] == ["p"]
    assert [pool for pool, _, _ in fleet(lake, minutes(14))] == ["p", "q"]
    store(lake, minutes(20), {"q": ("complete", ["d"])}, scope="pools")
    assert fleet(lake, minutes(20)) == [("p", "a", 600), ("q", "d", 0)]


def test_accounts_do_not_meet(lake: Lake) -> None:
    """Two accounts may have pools and nodes of the same names, and their own moments."""
    store(lake, minutes(0), {"p": ("complete", ["a"])}, account="one")
    store(lake, minutes(5), {"q": ("complete", ["a"])}, account="two")
    assert fleet(lake, minutes(5)) == [("p", "a", 300), ("q", "a", 0)]


def test_an_account_without_nodes(lake: Lake) -> None:
    """A snapshot of nothing answers nothing, without an error."""
    store(lake, minutes(0), {})
    assert fleet(lake) == []


def test_a_connection_keeps_its_view_until_it_is_refreshed(lake: Lake) -> None:
    """What is committed meanwhile is not seen halfway through somebody's work."""
    store(lake, minutes(0), {"p": ("complete", ["a"])})
    with query.connect(lake) as connection:
        count = "select count(*) from nodes"
        assert connection.sql(count).fetchall() == [(1,)]
        store(lake, minutes(5), {"p": ("complete", ["a"])})
        assert connection.sql(count).fetchall() == [(1,)]
        connection.refresh()
        assert connection.sql(count).fetchall() == [(2,)]


def test_every_table_is_there_typed_in_an_empty_lake(tmp_path: Path) -> None:
    """A lake that does not exist yet has every view, with the types a full one has."""
    make_service().run(Lake(tmp_path / "full"))
    described: list[Any] = []
    for name in ("full", "empty"):
        with query.connect(tmp_path / name) as connection:
            described.append(
                {
                    table: connection.sql(f"describe {table}").fetchall()
                    for table in (*schema.TABLES, "nodes_latest")
                    # this one has no rows in either: no one asked for usage
                    if table != "pool_usage"
                }
            )
    assert described[0] == described[1]
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("table", schema.TABLES.values(), ids=lambda table: table.name)
def test_every_column_has_its_doc_as_comment(tmp_path: Path, table: schema.Table) -> None:
    """DuckDB shows what the schema says of each table and column."""
    with query.connect(tmp_path / "empty") as connection:
        told = connection.sql(
            f"select column_name, comment from duckdb_columns() where table_name = '{table.name}'"
        ).fetchall()
    assert dict(told) == {column.name: column.doc for column in table.stored} | {"date": None}


def test_it_neither_downloads_nor_loads_extensions(tmp_path: Path) -> None:
    """What needs an extension fails plainly; nothing is fetched behind the user's back."""
    with query.connect(tmp_path) as connection, pytest.raises(duckdb.Error):
        connection.sql("select * from read_csv('https://example.invalid/x.csv')").fetchall()


def test_answers_come_as_frames_and_tables(lake: Lake) -> None:
    """polars, Arrow, tuples: whatever a notebook wants."""
    store(lake, minutes(0), {"p": ("complete", ["a"])})
    with query.connect(lake) as connection:
        relation = connection.sql("select node_id, observed_at from nodes")
        assert relation.pl()["node_id"].to_list() == ["a"]
        assert relation.to_arrow_table().num_rows == 1
        assert relation.fetchall() == [("a", NOON)]


@pytest.mark.parametrize("name", query.questions())
def test_a_text_that_is_no_id_is_one_of_a_list(name: str) -> None:
    """A header lists the values of such a parameter, the SQL knows each, and another is refused."""
    asked = query.question(name)
    for each in asked.parameters:
        if each.type == "varchar" and each.name not in ("account", "pool", "node"):
            with pytest.raises(query.QuestionError, match="bogus"):
                asked.bind({each.name: "bogus"})
            listed = re.split(", | or ", each.doc.removeprefix("only "))
            for value in listed:
                assert asked.bind({each.name: value})[each.name] == value
            body = re.sub(r"^--.*$", "", asked.sql, flags=re.MULTILINE)
            if each.name != "step":  # date_trunc knows them
                assert set(listed) <= set(re.findall(r"'(\w+)'", body))


def test_parameters_are_bound_never_pasted(lake: Lake) -> None:
    """A value that looks like SQL is a value."""
    store(lake, minutes(0), {"p": ("complete", ["a"])})
    with query.connect(lake) as connection:
        asked = "select count(*) from nodes where pool_id = $pool"
        assert connection.sql(asked, {"pool": "p"}).fetchall() == [(1,)]
        assert connection.sql(asked, {"pool": "' or true --"}).fetchall() == [(0,)]


@pytest.mark.parametrize("name", query.questions())
def test_a_question_makes_the_views_it_reads_alone(name: str) -> None:
    """No word of it, its header included, asks for the views of every fact: a third of a second."""
    assert history.mentioned(query.questions()[name].sql) != history.FACTS


@pytest.mark.parametrize("name", query.questions())
def test_a_questions_header_is_whole(name: str) -> None:
    """Question, grain, columns and caveats; every parameter it binds is declared, and used."""
    asked = query.questions()[name]
    assert asked.question.endswith("?")
    assert asked.grain
    assert asked.columns
    assert asked.caveats
    body = "\n".join(line for line in asked.sql.splitlines() if not line.startswith("--"))
    assert set(re.findall(r"\$(\w+)", body)) == {p.name for p in asked.parameters}
    assert '"' not in body  # Spark reads a double-quoted name as text, silently
