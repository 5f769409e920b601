"""What a query reads: names where tables stand, not words; and which queries may be asked twice."""

from __future__ import annotations

import duckdb
import pytest

from pipeline.query import fact_views
from pipeline.query.parsed import Parsed, parsed
from pipeline.query.sql_files import body, sql_directory, views

NAMES = {
    "from pools": {"pools"},
    "table pools": {"pools"},
    'select * from Pools as nodes, main."Nodes" join memory.main.snapshots using (x)': {
        "pools",
        "nodes",
        "snapshots",
    },
    "select * from pools where x in (select y from nodes) and exists (from snapshots)": {
        "pools",
        "nodes",
        "snapshots",
    },
    "select (select z from nodes limit 1) from pools, lateral (from snapshots)": {
        "pools",
        "nodes",
        "snapshots",
    },
    "from pools union all by name (from nodes except from snapshots)": {
        "pools",
        "nodes",
        "snapshots",
    },
    "from nodes_at(now())": {"nodes_at", "now"},
    "select nodes, pools.nodes as snapshots from pools": {"pools"},
    "select 'from nodes', $nodes -- from nodes\n from pools /* , nodes */": {"pools"},
    'select "nodes" from "pools" as "snapshots"': {"pools"},
    "summarize pools": {"pools"},
    "describe select * from pools": {"pools"},
    "from (unpivot pools on x into name nodes value snapshots)": {"pools"},
    "from pools; from nodes;": {"pools", "nodes"},
    "values ('pools')": set(),
    # a CTE hides a table from what follows it, not from itself, nor from what stands outside
    "with pools as (from snapshots) from pools": {"snapshots"},
    "with POOLS as (from snapshots) from pools, main.pools": {"snapshots", "pools"},
    "with pools as (from pools) from pools": {"pools"},
    "with a as (from nodes), nodes as (from a) from nodes": {"nodes"},
    "with nodes as (from snapshots), a as (from nodes) from a": {"snapshots"},
    "from (with nodes as (from pools) from nodes), nodes": {"pools", "nodes"},
    "with nodes as (from pools) select (select x from nodes) from snapshots": {
        "pools",
        "snapshots",
    },
    "with recursive nodes as (select 1 as x union select x from nodes, pools) from nodes": {
        "pools"
    },
    "with recursive a as (from nodes union from a), nodes as (from a) from nodes": {"nodes"},
    "with a as (insert into t from pools returning *) from a": {"pools"},
}


@pytest.mark.parametrize("asked", NAMES)
def test_the_names_of_a_select_are_those_of_its_tables(asked: str) -> None:
    """Not its columns, aliases, texts, comments, nor what its CTEs are called."""
    assert parsed(asked).names == NAMES[asked]
    assert not parsed(asked).may_read_all


@pytest.mark.parametrize("asked", [asked for asked in NAMES if ";" not in asked])
def test_duckdb_finds_the_same_names_where_it_binds(asked: str) -> None:
    """Its binder is another way to the same names; it cannot take every query without the tables."""
    with duckdb.connect() as connection:
        try:
            bound = connection.get_table_names(asked)
        except duckdb.Error:
            return
    functions = {"now", "nodes_at"}
    assert parsed(asked).names - functions == {name.lower() for name in bound}


@pytest.mark.parametrize(
    "asked",
    [
        "pivot pools on state using count(*)",
        "from (pivot \"Pools\" on state using max('nodes'))",
        "create table t as from pools -- from nodes",
        "copy pools to 'nodes.csv'",
        "explain from pools",
        "insert into t from pools where é <> 'nodes'",
        "select 1; pivot pools on state; select 'nodes'",
    ],
)
def test_every_word_of_another_statement_may_be_a_name(asked: str) -> None:
    """DuckDB gives no tree for them: its words count, its texts and comments do not."""
    found = parsed(asked)
    assert found.names & {"pools", "nodes"} == {"pools"}
    assert not found.may_read_all
    assert not found.is_repeatable


@pytest.mark.parametrize(
    "asked",
    [
        "show tables",
        "show all tables",
        "from duckdb_views()",
        "from duckdb_columns",
        "from information_schema.tables",
        "from sqlite_master",
        "from pragma_table_info('nodes')",
        "pragma table_info('nodes')",
        "call pragma_table_info('nodes')",
        "execute prepared_before",
        "from query_table('nodes')",
        "from query('from nodes')",
        "from pools; show tables",
    ],
)
def test_what_names_tables_as_text_may_read_all(asked: str) -> None:
    """Then every view is made, and every file looked for."""
    assert parsed(asked).may_read_all
    assert fact_views.mentioned(asked) == fact_views.VIEWS


@pytest.mark.parametrize("asked", ["selec 1 from pools", "select $a, ? from pools", "'", ""])
def test_what_duckdb_cannot_parse_names_nothing(asked: str) -> None:
    """DuckDB says what is wrong when it is asked."""
    assert not parsed(asked).names


@pytest.mark.parametrize(
    ("asked", "is_repeatable"),
    [
        ("from pools", True),
        ("from pools; from nodes", True),
        ("with a as (from pools) from a union from a", True),
        ("from nodes_at(now())", True),
        ("with a as (insert into t values (1) returning *) from a", False),
        ("with a as (delete from t returning *) select 1", False),
        ("with a as (update t set x = 1 returning *) from (from a)", False),
        (
            "from pools where x = (with a as (delete from t returning *) select max(x) from a)",
            False,
        ),
        ("select nextval('numbers')", False),
        ("select x from pools order by nextval('numbers')", False),
        ("from query('select nextval(''numbers'')')", False),
        ("select 1; insert into t values (1)", False),
        ("create table t (x int)", False),
        ("pivot pools on state", False),
        ("explain analyze insert into t values (1)", False),
        ("set threads = 1", False),
        ("", True),
    ],
)
def test_only_what_reads_may_be_asked_twice(asked: str, is_repeatable: bool) -> None:
    """A SELECT may write: in a CTE, or by a function."""
    assert parsed(asked).is_repeatable == is_repeatable


@pytest.mark.parametrize("name", [*fact_views.texts(), *views(over_facts=False)])
def test_a_view_is_made_after_what_it_reads(name: str) -> None:
    """Its text has a tree, and every view over facts that it names comes before it."""
    made = [*views(over_facts=False), *fact_views.closure([*fact_views.texts()])]
    statements = fact_views.texts().get(name) or views(over_facts=False).get(name, ())
    for statement in (each for each in statements if "create or replace" in each):
        found = parsed(body(statement))
        assert found.is_repeatable
        assert found.names & {*made} - {name} <= {*made[: made.index(name)]}


def test_every_file_that_asks_has_a_tree() -> None:
    """Questions, checks, metrics, report and history are each one SELECT: their names are exact."""
    files = [path for path in sorted(sql_directory().rglob("*.sql")) if path.parent.name != "views"]
    assert len(files) > 90
    for path in files:
        found = parsed(path.read_text("utf-8").rstrip().removesuffix(";"))
        assert found != Parsed(frozenset(), may_read_all=False, is_repeatable=False), path
        assert found.is_repeatable, path
        assert not found.may_read_all, path
