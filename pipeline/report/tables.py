"""The tables behind the pictures: rows as text, capped, with the command that gives them all."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.text import cell, count

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 100
_LONGEST = 400


@dataclass(frozen=True)
class HtmlColumn:
    """A column's name, and whether it holds numbers."""

    name: str
    is_number: bool


@dataclass(frozen=True)
class HtmlTable:
    """A table as the page shows it; ``size`` says how many rows there are, and how many are shown."""

    title: str
    columns: list[HtmlColumn]
    rows: list[list[str]]
    size: str
    note: str = ""
    anchor: str | None = None
    command: str | None = None
    row_anchors: Sequence[str] = ()


def of_rows(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    of: int | None = None,
    note: str = "",
    anchor: str | None = None,
    command: str | None = None,
    most: int = MOST_ROWS,
) -> HtmlTable:
    """A table of values, at most so many rows of them; ``of`` where there are more than given."""
    shown = rows[:most]
    whole = len(rows) if of is None else of
    size = count(whole, "row")
    if whole > len(shown):
        size = f"first {len(shown):,} of {size}"
    kinds = [
        any(isinstance(row[place], int | float) for row in shown)
        and not any(isinstance(row[place], bool) for row in shown)
        for place in range(len(columns))
    ]
    return HtmlTable(
        title,
        [
            HtmlColumn(name.replace("_", " "), kind)
            for name, kind in zip(columns, kinds, strict=True)
        ],
        [[_cell(value) for value in row] for row in shown],
        size,
        note,
        anchor,
        command,
    )


def _cell(value: object) -> str:
    text = cell(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} letters)"


def of_frame(
    title: str, frame: pl.DataFrame, *, note: str = "", most: int = MOST_ROWS
) -> HtmlTable:
    """A table of a frame's rows, at most so many of them."""
    return of_rows(
        title,
        frame.columns,
        [*frame.head(most).iter_rows()],
        of=frame.height,
        note=note,
        most=most,
    )


def of_answer(name: str, answer: pl.DataFrame, parameters: Mapping[str, str]) -> HtmlTable:
    """A question's answer, with what it asks and its caveats."""
    from pipeline.query import question

    asked = question(name)
    known = {each.name for each in asked.parameters}
    flags = [
        f"--{key} {shlex.quote(value)}" if key in ("from", "to") else f"--param {key}={value}"
        for key, value in parameters.items()
        if key in known
    ]
    # an account that is alone says nothing
    is_alone = "account" in answer.columns and answer["account"].n_unique() < 2
    rows = answer.drop("account") if is_alone else answer
    return of_rows(
        asked.question,
        rows.columns,
        [*rows.head(MOST_ROWS).iter_rows()],
        of=rows.height,
        note=asked.caveats,
        anchor=f"q-{name}",
        command=" ".join(["nodelake ask", name, *flags]),
    )
