"""The views of a lake as Spark SQL: DuckDB's statements, parsed, by name.

In place of the files of a table or fact the statements have a name, under which Spark has the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from pipeline import query
from pipeline.lake import View
from pipeline.query import missing_facts
from pipeline.spark import translate
from pipeline.spark.translate import Macro, Untranslatable

#: Prefixes of intermediate views, which are computed once and read by several others.
BY_THE_WAY = "made_"


def rows_of(table: str) -> str:
    """The name under which Spark finds a table's files."""
    return f"files_of_{table}"


def history_of(fact: str) -> str:
    """The name under which Spark finds a fact's files."""
    return f"history_of_{fact}"


@dataclass
class Catalogue:
    """The views by name, as trees of DuckDB's SQL, and the table macros."""

    queries: dict[str, exp.Expression] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)

    def spark(self, tree: exp.Expression) -> tuple[str, tuple[str, ...]]:
        """A query as Spark SQL, and the names that it reads, in order."""
        whole = translate.expand(tree, self.macros)
        return translate.to_spark(whole), tuple(dict.fromkeys(_sources(whole)))


def catalogue(view: View) -> Catalogue:
    """The catalogue of every view over these files; it reads none of them."""
    found = Catalogue()
    tokens = replace(
        view,
        files={name: (rows_of(name),) for name, files in view.files.items() if files},
        history={name: (history_of(name),) for name, files in view.history.items() if files},
        history_days=(),  # thousands of rows: Spark gets them as a table
        spans=(),
        # with a schema, a reader returns null for columns that a file lacks
        older=frozenset(),
        missing_facts=(),
    )
    for statement in (*query.statements(tokens), missing_facts.table(view.missing_facts)):
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
        raise Untranslatable(f"a statement that does not create a view:  {tree.sql('duckdb')[:80]}")
    if isinstance(tree.this, exp.Schema):  # a table that callers fill: empty until then
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
    """The name of the files in a ``read_parquet``."""
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
