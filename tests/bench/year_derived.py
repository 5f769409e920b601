"""Facts of a day that the project's own SQL makes from other facts of that day."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from functools import cache

import duckdb
import pyarrow as pa

from pipeline.query.sql_files import sql_directory
from pipeline.schema import facts


@cache
def derivations() -> dict[str, str]:
    """The facts that the project's SQL makes from other facts of their day alone, each after those."""
    found = {}
    for name in facts.FACTS:
        source = (sql_directory() / "history" / f"{name}.sql").read_text().rstrip().rstrip(";")
        made = set(re.findall(r"\bmade_(\w+)", source))
        if made <= facts.FACTS.keys() and not re.search(r"\b(from|join) (pools|nodes)\b", source):
            found[name] = source
    return found


def reads(name: str) -> set[str]:
    """The facts that such a fact is made from."""
    return set(re.findall(r"\bmade_(\w+)", derivations()[name]))


def derived(
    day: date, made: Mapping[str, pa.Table], names: Collection[str] | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Those facts of a day (all, unless named), made from the others of it, sorted by key."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set threads = 1")
        for name, table in made.items():
            connection.register(f"table_{name}", table)
            # nothing is ever out of sight in the year: what its facts do not store is false
            connection.execute(
                f"create view made_{name} as "
                f"select date '{day}' as date, false as is_again, * from table_{name}"
            )
        for name, source in derivations().items():
            if name in made or (names is not None and name not in names):
                continue
            connection.execute(f"create table made_{name} as {source}")
            fact = facts.FACTS[name]
            rows = connection.sql(f"from made_{name} order by {', '.join(fact.named('key'))}")
            yield name, rows.to_arrow_table().select(fact.schema.names).cast(fact.schema)
