"""The lake on Apache Spark: the same views and questions over the same committed files.

Spark only reads; ``translate`` turns DuckDB's SQL into its own; needs ``nodelake[spark]``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from pipeline import schema
from pipeline.lake import Lake, View
from pipeline.query import Outdated, Question, QuestionError, missing_facts, question
from pipeline.query.sql_files import read_as
from pipeline.schema import facts
from pipeline.spark.session import LOCAL, MEANING, SparkError, SparkSettingsError, first_line, need
from pipeline.spark.session import start as start

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["LOCAL", "Spark", "SparkError", "SparkSettingsError", "connect", "start"]

#: The errors of a query whose files were replaced since the view was loaded.
_GONE = re.compile(r"FILE_NOT_EXIST|PATH_NOT_FOUND|FileNotFoundException")


def connect(
    lake: Lake,
    master: str = LOCAL,
    session: SparkSession | None = None,
    options: Mapping[str, str] | None = None,
) -> Spark:
    """Opens a lake on Spark; use as a context manager, or ``close()``.

    Args:
        lake: every worker must see its files at the same path as this machine.
        master: where to start a session: ``local[*]``, or ``spark://host:7077``.
        session: an existing one, such as a notebook's ``spark``; it stays open.
        options: Spark's options for a new session.

    Raises:
        SparkError: pyspark, sqlglot or Java is missing, or the master cannot be reached.
    """
    need()
    if session is not None:
        return Spark(lake, session.newSession(), is_own=False)
    return Spark(lake, start(master, options), is_own=True)


class Spark:
    """A Spark session with temporary views of the lake at one moment.

    ``session`` has the views that were requested so far; ``view(name)`` makes one.
    """

    def __init__(self, lake: Lake, session: SparkSession, *, is_own: bool) -> None:
        from pipeline.spark import catalogue, translate

        self.lake = lake
        self.session = session
        self._is_own = is_own
        self._catalogue, self._translate = catalogue, translate
        self._given: dict[str, pa.Table] = {}
        self._made: set[str] = set()
        self._said: set[str] = set()
        for key, value in MEANING.items():
            session.conf.set(key, value)
        self.seen: View
        self.refresh()

    def __enter__(self) -> Spark:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees cached data in the cluster; ends the session if it was started here."""
        self._let_go()
        if self._is_own:
            self.session.stop()

    def _let_go(self) -> None:
        for name in self._made:
            self.session.catalog.dropTempView(name)
        self._made.clear()

    def refresh(self) -> None:
        """Loads the committed files again."""
        self._let_go()
        self.seen = self.lake.view()
        self._views = self._catalogue.catalogue(self.seen)

    def add(self, name: str, rows: pa.Table) -> None:
        """Adds a table to the session, such as prices."""
        self._given[name] = rows
        self._made.discard(name)

    def view(self, name: str) -> None:
        """Makes a temporary view, and those that it reads, for ``session.sql``."""
        if name in self._made:
            return
        if name in self._given:
            frame = self.session.createDataFrame(self._given[name])
        elif name == "history_days":
            frame = self._history_days()
        elif name == "listing_spans":
            frame = self.session.createDataFrame(self._listing_spans())
        elif name in self._views.queries:
            text, reads = self._views.spark(self._views.queries[name])
            for each in reads:
                self.view(each)
            frame = self.session.sql(text)
            if name.startswith(self._catalogue.BY_THE_WAY) or name == "wanted_days":
                # computed once, now: plans that read it do not repeat it
                frame = frame.localCheckpoint()
        else:
            found = self._files(name)
            if found is None:
                return  # not one of ours: Spark reports it
            frame = found
        frame.createOrReplaceTempView(name)
        self._made.add(name)

    def _history_days(self) -> DataFrame:
        rows = pa.table(
            {
                "account": pa.array(
                    [account for account, _ in self.seen.history_days], pa.string()
                ),
                "date": pa.array([day for _, day in self.seen.history_days], pa.date32()),
            }
        )
        return self.session.createDataFrame(rows)

    def _listing_spans(self) -> pa.Table:
        columns: tuple[Iterable[object], ...] = tuple(zip(*self.seen.spans, strict=True))
        kinds = {
            "account": pa.string(),
            "date": pa.date32(),
            "first_finished_at": schema.TIME,
            "last_finished_at": schema.TIME,
        }
        arrays = map(pa.array, columns or ((),) * len(kinds), kinds.values())
        return pa.table(dict(zip(kinds, arrays, strict=True)))

    def _files(self, name: str) -> DataFrame | None:
        """The files of a table or fact, under the name that views use."""
        for table in schema.TABLES.values():
            if name == self._catalogue.rows_of(table.name):
                return self._read(table.schema, self.seen.files[table.name])
        for fact in facts.FACTS.values():
            if name == self._catalogue.history_of(fact.name):
                return self._read(fact.schema, self.seen.history[fact.name])
        return None

    def _read(self, columns: pa.Schema, files: Iterable[str]) -> DataFrame:
        """A frame of these files, with declared columns, and ``date`` from their paths."""
        declared = ", ".join([*(f"`{f.name}` {_ddl(f.type)}" for f in columns), "`date` date"])
        folders: dict[str, list[str]] = defaultdict(list)
        for file in files:
            folders[file.rpartition("/date=")[0]].append(file)
        read = [
            self.session.read.schema(declared)
            .option("basePath", self._place(folder))
            .parquet(*(_literally(self._place(file)) for file in found))
            for folder, found in sorted(folders.items())
        ]
        whole = read[0]
        for other in read[1:]:
            whole = whole.unionByName(other)
        return whole

    def _place(self, file: str) -> str:
        """A file's URI for Hadoop: ``abfss://`` for blobs."""
        if not file.startswith("az://"):
            return file if "://" in file else f"file://{file}"
        address: Any = self.lake.storage
        where = address.address
        host = where.endpoint.partition("://")[2].replace(".blob.", ".dfs.", 1)
        return f"abfss://{where.container}@{host}{file.removeprefix('az://' + where.container)}"

    def table(self, query: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The answer to a query in DuckDB's SQL as an Arrow table; ``$name`` is bound.

        Where history was rebuilt meanwhile, the view is refreshed and the query asked again, once.

        Raises:
            SparkError: Spark cannot answer it.
            Outdated: files it needs are gone, or history keeps changing.
        """
        for _ in range(2):
            answer = self._table(query, parameters)
            if answer is not None:
                return answer
            self.refresh()
        raise Outdated

    def _table(self, query: str, parameters: Mapping[str, object] | None) -> pa.Table | None:
        """The answer; None where history files were replaced during the query."""
        from pyspark.errors import PySparkException

        try:
            text, reads = self._views.spark(self._translate.parse(query))
            for each in reads:
                self.view(each)
            since = (parameters or {}).get("from")
            missing_facts.warn(self.seen.missing_facts, self._facts_read(), since, self._said)
            answer = self.session.sql(text, args=dict(parameters or {})).toArrow()
        except self._translate.Untranslatable as error:
            raise SparkError(f"not for Spark: {error}") from None
        except PySparkException as error:
            if self._has_new_history():
                return None
            if _GONE.search(str(error)):
                raise Outdated from error
            raise SparkError(f"Spark: {first_line(error)}") from error
        return None if self._has_new_history() else answer

    def _has_new_history(self) -> bool:
        return self.lake.has_new_history(self.seen, self._facts_read())

    def _facts_read(self) -> list[str]:
        """The facts whose files the queries so far have read."""
        return [f for f in facts.FACTS if self._catalogue.history_of(f) in self._made]

    def ask(self, name: str, **parameters: object) -> pa.Table:
        """The answer to a named question as an Arrow table.

        Raises:
            QuestionError: no such question or parameter, or a value that does not fit.
        """
        asked = question(name)
        return self.table(asked.sql, typed(asked, asked.bind(parameters)))


def typed(asked: Question, values: Mapping[str, object]) -> dict[str, object]:
    """The parameters of a question with DuckDB's types: times and numbers in place of text.

    Where a question counts whole days and the range cuts one, the log names the days.

    Raises:
        QuestionError: a value does not fit its parameter.
    """
    read: dict[str, object] = {}
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for each in asked.parameters:
            value = values.get(each.name)
            if value is not None:
                try:
                    value = read_as(connection, value, each.type)
                except ValueError:
                    problem = f"{asked.name}: {each.name}: {value!r} is not a valid {each.type}"
                    raise QuestionError(problem) from None
            read[each.name] = value
        asked.warn_of_parts_of_days(values, connection)
    return read


def _ddl(kind: pa.DataType) -> str:
    """Spark's name for an Arrow type."""
    if pa.types.is_list(kind):
        return f"array<{_ddl(kind.value_type)}>"
    if pa.types.is_struct(kind):
        members = (kind.field(number) for number in range(kind.num_fields))
        return f"struct<{', '.join(f'`{each.name}`: {_ddl(each.type)}' for each in members)}>"
    return {
        schema.TIME: "timestamp",
        schema.INT: "int",
        schema.COUNT: "bigint",
        schema.REAL: "double",
        schema.FLAG: "boolean",
        schema.TEXT: "string",
    }[kind]


def _literally(path: str) -> str:
    """A path in which Hadoop's wildcards are escaped."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", path)
