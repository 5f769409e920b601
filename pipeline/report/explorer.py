"""The data of the page's script about every node, as JSON in the page; ``page.js`` reads it.

Times are whole seconds from the start of the range; texts are indexes into ``texts``. A node's cells are
runs of letters: ``r12i_3U`` is running for 12 bins, idle for one, absent for three, unusable for one.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

import polars as pl

from pipeline.report import nodes, palette
from pipeline.report.findings import Findings
from pipeline.report.nodes import NODE

Row = dict[str, Any]
Key = tuple[Any, ...]

#: The most letters of a text.
_LONGEST = 2_000
UNOBSERVED, ABSENT = "-", "_"
_LETTERS = {state: look.letter for state, look in palette.STATES.items()}
_LETTERS["unobserved"] = UNOBSERVED


def anchor(node_id: str) -> str:
    """A node's id, encoded for an address."""
    return quote(node_id, safe="")


def embedded(found: Findings, room: int) -> str:
    """The JSON, of about this many bytes at most, without characters that HTML interprets."""
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", _json(content(found, room)))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def content(found: Findings, room: int) -> Row:
    """The data of the script; where there is no room, with stories of eventful nodes only."""
    texts = _Texts()
    pools = found.nodes.select("account", "pool_id", name=found.named).unique(maintain_order=True)
    place_of = {(row[0], row[1]): place for place, row in enumerate(pools.iter_rows())}
    start = found.span.start.timestamp()
    letters = _letters(found)
    codes = _codes(found)
    rows: list[Row] = []
    for row in found.nodes.to_dicts():
        key = row["account"], row["pool_id"], row["node_id"]
        rows.append(
            {
                "i": row["node_id"],
                "p": place_of[row["account"], row["pool_id"]],
                "k": {True: "dedicated", False: "spot"}.get(row["is_dedicated"], ""),
                "z": texts.add(row["vm_size"]),
                "l": row["last_state"] or "",
                "a": round(row["first_at"].timestamp() - start),
                "b": round(row["last_at"].timestamp() - start),
                "h": [round(row[group], 2) for group in nodes.GROUPS],
                "c": letters.get(key, ""),
                "e": [texts.add(code) for code in codes.get(key, ())],
            }
        )
    details = _Details(found, start, texts, room - len(_json(rows)))
    for made, key in zip(rows, found.nodes.select(NODE).iter_rows(), strict=True):
        made.update(details.of(key))
    return {
        "start": round(start),
        "seconds": round((found.span.end - found.span.start).total_seconds()),
        "step": found.fine.step.total_seconds(),
        "bins": found.fine.bins,
        "lake": found.lake,
        "account": len(found.accounts) > 1,
        "groups": list(nodes.GROUPS),
        "states": [
            {"l": look.letter, "n": state, "g": look.group}
            for state, look in palette.STATES.items()
        ],
        "pools": pools.rename({"account": "a", "pool_id": "i", "name": "n"}).to_dicts(),
        "nodes": rows,
        "texts": texts.known,
    }


class _Texts:
    """Texts by index, as most repeat. ``size`` is their bytes so far."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.size = 0

    def add(self, text: str | None, *, is_whole: bool = False) -> int:
        """The number of a text, cut where it is very long unless it is wanted whole."""
        shown = text or ""
        if len(shown) > _LONGEST and not is_whole:
            shown = f"{shown[:_LONGEST]}… ({len(shown):,} letters)"
        if shown not in self._numbers:
            self._numbers[shown] = len(self._numbers)
            self.size += len(_json(shown)) + 1
        return self._numbers[shown]

    @property
    def known(self) -> list[str]:
        """All texts, by index."""
        return [*self._numbers]


def _letters(found: Findings) -> dict[Key, str]:
    """Each node's cells as runs of letters."""

    def times(name: str, letter: pl.Expr) -> pl.Expr:
        many = pl.col(name)
        number = pl.when(many > 1).then(many.cast(pl.String)).otherwise(pl.lit(""))
        return pl.when(many > 0).then(letter + number).otherwise(pl.lit(""))

    letter = pl.col("state").replace_strict(
        _LETTERS, default=palette.OTHER.letter, return_dtype=pl.String
    )
    coded = (
        nodes.runs(found.cells)
        .with_columns(
            gap=pl.col("begin") - pl.col("end").shift(fill_value=0).over(NODE),
            length=pl.col("end") - pl.col("begin"),
        )
        .select(*NODE, run=times("gap", pl.lit(ABSENT)) + times("length", letter))
        .group_by(NODE)
        .agg(pl.col("run").str.join())
    )
    return {tuple(key): run for *key, run in coded.iter_rows()}


def _codes(found: Findings) -> dict[Key, list[str]]:
    """The error codes of each node, for the search box."""
    failed = found.starts.filter(pl.col("result") == "failure")
    exits = failed.select(*NODE, code=pl.format("exit {}", "exit_code"))
    listed = pl.concat(
        [
            found.errors.select(*NODE, "code"),
            failed.select(*NODE, code=pl.col("failure_code")),
            exits,
        ]
    )
    per_node = (
        listed.drop_nulls("code").unique(maintain_order=True).group_by(NODE).agg(pl.col("code"))
    )
    return {tuple(key): codes for *key, codes in per_node.iter_rows()}


class _Details:
    """The data of nodes' panels, until the page is full; the most eventful nodes must come first."""

    def __init__(self, found: Findings, start: float, texts: _Texts, room: int) -> None:
        self._start = start
        self._texts = texts
        self._left = room
        frames = {"s": found.stories, "t": found.starts, "r": found.errors, "o": found.output}
        self._rows = {part: _by_node(frame, _COLUMNS[part]) for part, frame in frames.items()}

    def of(self, key: Key) -> Row:
        """A node's story (s), start-task runs (t), errors (r) and output (o); or that it is full."""
        if self._left <= 0:
            return {"full": True}
        before = self._texts.size
        made = {
            # why a start task failed stands at the end of what it wrote
            part: [[self._value(value, is_whole=part == "o") for value in row] for row in rows[key]]
            for part, rows in self._rows.items()
            if key in rows
        }
        self._left -= len(_json(made)) + self._texts.size - before
        return made

    def _value(self, value: Any, *, is_whole: bool) -> Any:
        if isinstance(value, datetime):
            return round(value.timestamp() - self._start)
        return self._texts.add(value, is_whole=is_whole) if isinstance(value, str) else value


#: The columns of each part, in the order of ``page.js``.
_COLUMNS = {
    "s": "kind what detail life began_after began_at ended_after ended_before".split(),
    "t": "start_time end_time result exit_code failure_code failure_message".split(),
    "r": "code message first_observed_at last_observed_at ended_before".split(),
    "o": "start_time exit_code file text is_truncated error_code".split(),
}


def _by_node(frame: pl.DataFrame, columns: list[str]) -> dict[Key, list[Key]]:
    rows: dict[Key, list[Key]] = defaultdict(list)
    if frame.is_empty():
        return rows
    for account, pool_id, node_id, *values in frame.select(*NODE, *columns).iter_rows():
        rows[account, pool_id, node_id].append(tuple(values))
    return dict(rows)
