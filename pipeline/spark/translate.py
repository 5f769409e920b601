"""Translates DuckDB's SQL to Spark's with sqlglot, with rules where the same SQL has another meaning.

A test asks both engines every question and every fact, and compares rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

#: Spark has no infinite timestamp; this is later than any of the service.
_FOREVER = "9999-12-31 23:59:59.999999+00:00"
_MICROSECONDS = {"SECOND": 10**6, "MINUTE": 60 * 10**6, "HOUR": 3600 * 10**6}


class Untranslatable(Exception):
    """SQL that has no equivalent in Spark; the message names it."""


@dataclass(frozen=True)
class Macro:
    """A table macro of ``sql/views``: its parameters and its query."""

    parameters: tuple[str, ...]
    query: exp.Expression


def parse(sql: str) -> exp.Expression:
    """One statement of DuckDB's SQL as a tree.

    Raises:
        Untranslatable: it is not exactly one statement.
    """
    try:
        (tree,) = sqlglot.parse(sql, read="duckdb")
    except (sqlglot.errors.SqlglotError, ValueError) as error:
        raise Untranslatable(f"not one statement of SQL that can be read: {error}") from None
    if not isinstance(tree, exp.Expression):
        raise Untranslatable("an empty statement")
    return tree


def expand(tree: exp.Expression, macros: Mapping[str, Macro]) -> exp.Expression:
    """The tree with every call of a table macro replaced by its query, arguments filled in.

    sqlglot moves the CTEs of a subquery to the top for Spark, so each call gives them names of its own.
    """
    calls = itertools.count(1)

    def one(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Anonymous):
            return node
        macro = macros.get(node.this.name.lower())
        if macro is None:
            return node
        given = dict(zip(macro.parameters, node.this.expressions, strict=True))

        def fill(inner: exp.Expression) -> exp.Expression:
            is_bare = isinstance(inner, exp.Column) and not inner.table
            return given[inner.name].copy() if is_bare and inner.name in given else inner

        prefix = f"{node.this.name.lower()}_{next(calls)}_"
        body = _prefixed(expand(macro.query.copy(), macros), prefix).transform(fill)
        return exp.Subquery(this=body, alias=node.args.get("alias"))

    return tree.transform(one)


def _prefixed(query: exp.Expression, prefix: str) -> exp.Expression:
    """The query, with a prefix before the names of its CTEs."""
    names = {cte.alias for cte in query.find_all(exp.CTE)}
    for node in [*query.find_all(exp.CTE, exp.Table)]:
        if isinstance(node, exp.CTE):
            node.set("alias", exp.TableAlias(this=exp.to_identifier(prefix + node.alias)))
        elif node.name in names:
            alias = exp.TableAlias(this=exp.to_identifier(node.alias_or_name))
            node.replace(exp.Table(this=exp.to_identifier(prefix + node.name), alias=alias))
    return query


def to_spark(tree: exp.Expression) -> str:
    """A query of DuckDB's as Spark SQL; ``$name`` becomes ``:name``.

    Raises:
        Untranslatable: a part has no equivalent in Spark.
    """
    said = _said(tree.copy())
    try:
        return said.sql("spark", comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.UnsupportedError as error:
        raise Untranslatable(str(error)) from None


def _call(name: str, *arguments: exp.Expression | None) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[each for each in arguments if each is not None])


def _cast(what: exp.Expression, kind: str) -> exp.Cast:
    return exp.Cast(this=what, to=exp.DataType.build(kind))


def _micros(time: exp.Expression) -> exp.Expression:
    return _call("unix_micros", _cast(time.copy(), "timestamptz"))


def _double(text: str) -> exp.Expression:
    return exp.Cast(this=exp.Literal.string(text), to=exp.DataType.build("double"))


def _said(tree: exp.Expression) -> exp.Expression:
    """The tree with every rule applied, from the leaves up."""
    nodes: list[Any] = [*tree.dfs()]
    for node in reversed(nodes):
        rule = _RULES.get(type(node))
        if rule is not None and (other := rule(node)) is not node:
            if node is tree:
                tree = other
            else:
                node.replace(other)
    return tree


def _time_to_unix(node: exp.Expression) -> exp.Expression:
    # epoch() has fractions, unix_timestamp() whole seconds; and DuckDB adds up milliseconds and the
    # microseconds beyond: one division of all would differ in the last bit
    millis = _call("unix_millis", _cast(node.this.copy(), "timestamptz"))
    beyond = _call("pmod", _micros(node.this), exp.Literal.number(1000))
    whole = exp.Div(this=millis, expression=_double("1000"))
    rest = exp.Div(this=beyond, expression=_double("1000000"))
    return exp.Paren(this=exp.Add(this=whole, expression=rest))


def _number(node: exp.Expression) -> exp.Expression:
    # 0.5 is a decimal in both, but DuckDB calculates in doubles, Spark in decimals
    is_fraction = not node.args.get("is_string") and not node.name.isdigit()
    return _double(node.name) if is_fraction else node


def _infinity(node: exp.Expression) -> exp.Expression:
    is_text = isinstance(node.this, exp.Literal) and node.this.args.get("is_string")
    if is_text and node.this.name.lower() == "infinity":
        return exp.Cast(this=exp.Literal.string(_FOREVER), to=node.args["to"])
    whole = ("int", "bigint", "smallint", "tinyint")
    computed = (exp.Div, exp.Mul, exp.Round, exp.Anonymous, exp.Sum, exp.Avg)
    if node.args["to"].is_type(*whole) and isinstance(node.this.unnest(), computed):
        # DuckDB rounds to integers, halves to even; Spark truncates
        return exp.Cast(this=_call("rint", node.this), to=node.args["to"])
    return node


def _round(node: exp.Expression) -> exp.Expression:
    # DuckDB rounds x * 10^n as a double; Spark rounds the printed decimal digits of x
    digits = node.args.get("decimals")
    if digits is None:
        return node
    if not isinstance(digits, exp.Literal):
        raise Untranslatable("round() to a number of digits that is worked out")
    scale = _double(f"1{'0' * int(digits.name)}")
    scaled = exp.Mul(this=exp.Paren(this=node.this), expression=scale)
    return exp.Paren(this=exp.Div(this=exp.Round(this=scaled), expression=scale.copy()))


def _date_diff(node: exp.Expression) -> exp.Expression:
    # DuckDB counts the boundaries between two times, Spark the whole units
    later, earlier, unit = node.this, node.expression, node.text("unit").upper()
    if unit == "MICROSECOND":
        return exp.Paren(this=exp.Sub(this=_micros(later), expression=_micros(earlier)))
    if unit == "DAY":
        return _call("datediff", _cast(later, "date"), _cast(earlier, "date"))
    if unit not in _MICROSECONDS:
        raise Untranslatable(f"date_diff by {unit.lower()}")
    begun = [
        _call("date_trunc", exp.Literal.string(unit), _cast(each, "timestamptz"))
        for each in (later, earlier)
    ]
    apart = exp.Paren(this=exp.Sub(this=_micros(begun[0]), expression=_micros(begun[1])))
    return exp.IntDiv(this=apart, expression=exp.Literal.number(_MICROSECONDS[unit]))


def _is_known(what: exp.Expression) -> exp.Expression:
    return exp.Not(this=exp.Is(this=exp.Paren(this=what.copy()), expression=exp.Null()))


def _extreme(node: exp.Expression) -> exp.Expression:
    # DuckDB ignores rows whose first argument is null, Spark does not
    if isinstance(node.this, exp.Struct) or isinstance(node.parent, exp.Filter):
        return node  # _filter handles those
    return exp.Filter(this=node.copy(), expression=exp.Where(this=_is_known(node.this)))


def _filter(node: exp.Expression) -> exp.Expression:
    if not isinstance(node.this, exp.ArgMax | exp.ArgMin) or isinstance(node.this.this, exp.Struct):
        return node
    where = exp.Paren(this=node.args["expression"].this)
    both = exp.And(this=where, expression=_is_known(node.this.this))
    return exp.Filter(this=node.this, expression=exp.Where(this=both))


def _within_group(node: exp.Expression) -> exp.Expression:
    # sqlglot's own choice is an approximation
    kind = node.this
    if isinstance(kind, exp.PercentileCont):
        ordered = node.expression.expressions[0]
        if ordered.args.get("desc"):
            raise Untranslatable("percentile_cont in descending order")
        return _call("percentile", ordered.this, kind.this)
    return node


def _list(node: exp.Expression) -> exp.Expression:
    if isinstance(node.this, exp.Order):
        raise Untranslatable("a list in an order of its own")
    return node


def _not_in(node: exp.Expression) -> exp.Expression:
    # of several columns: Spark would compare every pair of rows
    inner = node.this
    if not (
        isinstance(inner, exp.In) and isinstance(inner.this, exp.Tuple) and inner.args.get("query")
    ):
        return node
    columns = inner.this.expressions
    names = [f"excluded_{number}" for number in range(len(columns))]
    renamed = exp.Subquery(
        this=inner.args["query"].unnest(),
        alias=exp.TableAlias(
            this=exp.to_identifier("excluded"), columns=[exp.to_identifier(n) for n in names]
        ),
    )
    same = [exp.EQ(this=exp.column(n), expression=c) for n, c in zip(names, columns, strict=True)]
    there = exp.select("1").from_(renamed).where(*same)
    return exp.Not(this=exp.Exists(this=there))


def _limit(node: exp.Expression) -> exp.Expression:
    # Spark takes int, not bigint
    count = node.args.get("expression")
    if count is None or isinstance(count, exp.Literal):
        return node
    node.set("expression", _cast(count, "int"))
    return node


def _anonymous(node: exp.Expression) -> exp.Expression:
    name = node.name.lower()
    if name == "row":
        return _call("struct", *node.expressions)
    if name == "epoch_us":
        return _micros(node.expressions[0])
    if name == "md5_number_lower":
        return _md5_number(node.expressions[0])
    return node


def _md5_number(text: exp.Expression) -> exp.Expression:
    """The last eight bytes of an MD5 as a number, the last byte the highest: of 64 bits, unsigned."""
    digits = exp.MD5(this=text)
    places = [exp.Literal.number(place) for place in range(31, 16, -2)]
    two, ten = exp.Literal.number(2), exp.Literal.number(10)
    pairs = [_call("substring", digits.copy(), place, two.copy()) for place in places]
    number = _call("conv", _call("concat", *pairs), exp.Literal.number(16), ten)
    return _cast(number, "decimal(20, 0)")


_RULES: dict[type[exp.Expression], Callable[[exp.Expression], exp.Expression]] = {
    exp.TimeToUnix: _time_to_unix,
    exp.Literal: _number,
    exp.Cast: _infinity,
    exp.Round: _round,
    exp.DateDiff: _date_diff,
    exp.ArgMax: _extreme,
    exp.ArgMin: _extreme,
    exp.Filter: _filter,
    exp.WithinGroup: _within_group,
    exp.ArrayAgg: _list,
    exp.Not: _not_in,
    exp.Limit: _limit,
    exp.Anonymous: _anonymous,
}
