"""The views of a lake as Spark SQL: what DuckDB is given, parsed and kept by name.

``query.statements`` is given a token in place of the files of each table and fact; Spark finds the
files themselves under these names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from pipeline import query
from pipeline.lake import View
from pipeline.spark import translate
from pipeline.spark.translate import Macro, Untranslatable

#: What is made from rows by the way, by the start of its name: worked out once, then read by many.
BY_THE_WAY = "made_"


def rows_of(table: str) -> str:
    """The name under which Spark finds a table's files."""
    return f"files_of_{table}"


def history_of(fact: str) -> str:
    """The name under which Spark finds a fact's files."""
    return f"history_of_{fact}"


@dataclass
class Catalogue:
    """What each view is, by name, as trees of DuckDB's SQL; and the table macros."""

    queries: dict[str, exp.Expression] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)

    def spark(self, tree: exp.Expression) -> tuple[str, tuple[str, ...]]:
        """A query as Spark SQL, and the names of what it reads, in order of their mention."""
        whole = translate.expand(tree, self.macros)
        return translate.to_spark(whole), tuple(dict.fromkeys(_sources(whole)))


def catalogue(view: View) -> Catalogue:
    """Every view over these files; nothing is read."""
    found = Catalogue()
    tokens = replace(
        view,
        files={name: (rows_of(name),) for name, files in view.files.items() if files},
        history={name: (history_of(name),) for name, files in view.history.items() if files},
        history_days=(),  # thousands of rows: Spark is given them as a table
        spans=(),
        older=frozenset(),  # columns that a file lacks are null to a reader that is given the schema
    )
    for statement in query.statements(tokens):
        if not statement.startswith(("comment on", "set variable")):
            _take(translate.parse(statement), found)
    return found


def _take(tree: exp.Expression, found: Catalogue) -> None:
    if isinstance(tree, exp.Drop | exp.Comment):
        return
    if isinstance(tree, exp.Alter):
        found.queries[tree.args["actions"][0].this.name] = found.queries.pop(tree.this.name)
        return
    if not isinstance(tree, exp.Create):
        raise Untranslatable(f"a statement that makes no view: {tree.sql('duckdb')[:80]}")
    if isinstance(tree.this, exp.Schema):  # a table that others fill: empty until it is given
        found.queries[tree.this.this.name] = _empty(tree.this)
        return
    body = tree.expression.transform(_files)
    if tree.kind == "MACRO":
        named = tuple(each.name for each in tree.this.expressions)
        found.macros[tree.this.this.name.lower()] = Macro(named, body)
        return
    found.queries[tree.this.name] = _lifted(body, found)


def _empty(declared: exp.Schema) -> exp.Expression:
    columns = [
        exp.alias_(exp.Cast(this=exp.Null(), to=each.args["kind"]), each.name)
        for each in declared.expressions
    ]
    return exp.select(*columns).where(exp.false())


def _files(node: exp.Expression) -> exp.Expression:
    """The name that Spark finds files under, for a ``read_parquet`` of them."""
    if not (isinstance(node, exp.Table) and isinstance(node.this, exp.ReadParquet)):
        return node
    first = node.this.expressions[0]
    if isinstance(first, exp.Anonymous):
        token = rows_of(first.expressions[0].name.removesuffix("_files"))
    elif isinstance(first, exp.Array) and len(first.expressions) == 1:
        token = first.expressions[0].name
    else:
        raise Untranslatable(f"files without a name: {first.sql('duckdb')[:80]}")
    return exp.to_table(token)


def _lifted(body: exp.Expression, found: Catalogue) -> exp.Expression:
    """The query without the parts that views share: these become views of their own."""
    parts = body.args.get("with_")
    if parts is None:
        return body
    for part in list(parts.expressions):
        if part.alias.startswith(BY_THE_WAY):
            if found.queries.setdefault(part.alias, part.this) != part.this:
                raise Untranslatable(f"{part.alias} is made in two ways")
            part.pop()
    if not parts.expressions:
        parts.pop()
    return body


def _sources(tree: exp.Expression) -> list[str]:
    return [
        source.name
        for scope in traverse_scope(tree)
        for source in scope.sources.values()
        if isinstance(source, exp.Table)
    ]
