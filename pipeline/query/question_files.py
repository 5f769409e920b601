"""The named questions: the files of ``sql/questions``, and their headers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from duckdb import DuckDBPyConnection

from pipeline.query.nearest import did_you_mean
from pipeline.query.sql_files import read_as, sql_directory

log = logging.getLogger("nodelake.questions")


class QuestionError(Exception):
    """An unknown question or parameter, or a wrong value; the message lists the known ones."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a question: its DuckDB type, its default as in the header, its meaning."""

    name: str
    type: str
    default: str | None
    doc: str


@dataclass(frozen=True)
class Question:
    """A named question: the SQL file and its header."""

    name: str
    question: str
    grain: str
    columns: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    caveats: str
    sql: str

    def bind(self, given: Mapping[str, object]) -> dict[str, object]:
        """All parameters by name, defaults filled in.

        Raises:
            QuestionError: the question lacks a parameter, or a value is not one of its values.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        unknown = sorted(given.keys() - known.keys())
        if unknown:
            there = ", ".join(known) or "none"
            raise QuestionError(
                f"{self.name} has no parameter {unknown[0]!r}; it has: {there}"
                f"{did_you_mean(unknown[0], known)}"
            )
        for name, value in given.items():
            choices = _CHOICES.fullmatch(known[name].doc)
            if value is not None and choices and value not in re.split(", | or ", choices[1]):
                raise QuestionError(f"{name} of {self.name} is {known[name].doc}, not {value!r}")
        return {name: given.get(name, parameter.default) for name, parameter in known.items()}

    def warn_of_parts_of_days(
        self, values: Mapping[str, object], connection: DuckDBPyConnection
    ) -> None:
        """Logs the days that count, where the question counts whole days and a range cuts one.

        Args:
            values: of its parameters by name: times, or texts of times.
            connection: a session of its own reads texts; the query refuses other texts.
        """
        given = {
            each.name: (each.type, values[each.name])
            for each in self.parameters
            if each.name in ("from", "to")
            and each.doc.startswith("only days")
            and values.get(each.name) is not None
        }
        if not given:
            return
        said, is_within = [], False
        # in a separate session: an answer that is not fetched completely blocks its session
        with connection.cursor() as cursor:
            cursor.execute("set TimeZone = 'UTC'")
            for name, (kind, value) in given.items():
                try:
                    read = read_as(cursor, value, kind)
                except ValueError:
                    continue
                if not isinstance(read, datetime) or read.tzinfo is None:  # infinity
                    continue
                at = read.astimezone(UTC)
                day = at.replace(hour=0, minute=0, second=0, microsecond=0)
                said.append(f"{'from' if name == 'from' else 'before'} {day:%Y-%m-%d}")
                is_within |= day != at
        if is_within:
            log.warning("%s counts whole days (UTC): those %s", self.name, " and ".join(said))


_HEADER = re.compile(r"^-- (?:(question|grain|columns|param|caveats): +| {6,})(.+)$")
# Matches a meaning that lists the values of a parameter: hour, day or week.
_CHOICES = re.compile(r"(?:only )?(\w+(?:, \w+)+ or \w+)")
_PARAM = re.compile(r"(\w+) (\w+) = (.*?): (.+)", re.DOTALL)


@cache
def questions() -> dict[str, Question]:
    """Every question by name, sorted."""
    files = sorted((sql_directory() / "questions").glob("*.sql"))
    return {path.stem: _parse(path) for path in files}


def question(name: str) -> Question:
    """The question of that name.

    Raises:
        QuestionError: there is none; names those that are nearest.
    """
    known = questions()
    if name not in known:
        near = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise QuestionError(f"no question {name!r}{near}")
    return known[name]


def _parse(path: Path) -> Question:
    text = path.read_text("utf-8")
    fields: list[tuple[str, str]] = []
    for line in text.splitlines():
        match = _HEADER.match(line)
        if match is None:
            break
        if match[1]:
            fields.append((match[1], match[2].strip()))
        else:  # a continuation line
            fields[-1] = (fields[-1][0], f"{fields[-1][1]} {match[2].strip()}")
    one = dict(fields)
    parameters = []
    for name, value in fields:
        if name == "param":
            match = _PARAM.fullmatch(value)
            if match is None:
                raise QuestionError(f"{path}: no parameter: {value}")
            default = None if match[3] == "null" else match[3]
            parameters.append(Parameter(match[1], match[2], default, match[4]))
    return Question(
        path.stem,
        one["question"],
        one["grain"],
        tuple(column.strip() for column in one["columns"].split(",")),
        tuple(parameters),
        one.get("caveats", ""),
        text.rstrip().removesuffix(";"),
    )
