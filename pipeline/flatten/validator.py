"""The slow path: finds what of a JSON object does not fit its shape.

Arrow reads what fits; values that are unknown, null, empty or of a wrong type are returned, so that
nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.flatten import shape

#: The path of a value: names of members, and indexes of lists.
Steps = tuple[str | int, ...]


@dataclass(slots=True)
class Problem:
    """A value that does not fit: its path, and the expected and actual type (never the value)."""

    steps: Steps
    problem: str


@dataclass(slots=True)
class Validation:
    """What of a JSON object does not fit its shape.

    ``extra`` has the values that no column holds, by row: its keys are the path of the row's object
    (``()`` the object itself, ``("recentTasks", 2)`` an element with a table of its own,
    ``("startTask",)``); its values map paths inside it to an unknown value, null, {} or [].
    ``unknown`` lists the paths of unknown fields from the top.
    """

    extra: dict[Steps, dict[Steps, object]] = field(default_factory=dict)
    unknown: list[Steps] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


#: The greatest depth of an unknown value: deeper ones are refused, because readers recurse.
MAX_DEPTH = 100


def flaw(value: object, depth: int = MAX_DEPTH) -> str | None:
    """Why a value cannot be stored in extra_json, or None."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if not isinstance(value, dict | list):
        return None
    if not depth:
        return "nested too deeply"
    if isinstance(value, shape.Repeated):
        return "a member named twice"
    inner = value.values() if isinstance(value, dict) else value
    return next((found for x in inner if (found := flaw(x, depth - 1)) is not None), None)


class _JsonPath(NamedTuple):
    """The path of an object; its steps are computed only for problems."""

    parent: _JsonPath | None
    step: str | int
    row: Steps

    def steps(self, *more: str | int) -> Steps:
        """The steps from the top to the object, and ``more`` from there."""
        steps = [*more[::-1]]
        place: _JsonPath | None = self
        while place is not None and place.parent is not None:
            steps.append(place.step)
            place = place.parent
        return tuple(steps[::-1])


_TOP = _JsonPath(None, "", ())


class Validator:
    """Finds unknown values and values of a wrong type in JSON objects, also those that Arrow accepts.

    ``ignored`` names members of the top object that are neither columns nor unknown.
    """

    def __init__(self, of: shape.Members, ignored: Iterable[str] = ("odata.metadata",)) -> None:
        self.shape = of
        self.ignored = frozenset(ignored)

    def validate(self, value: dict[str, object]) -> Validation:
        """What of ``value`` does not fit; Arrow reads the rest."""
        validation = Validation()
        self._object(value, self.shape, validation, _TOP)
        return validation

    def _object(
        self, value: dict[str, object], of: shape.Members, validation: Validation, at: _JsonPath
    ) -> None:
        if isinstance(value, shape.Repeated):
            validation.problems.append(Problem(at.steps(), "a member named twice"))
        known = of.members
        for name, x in value.items():
            member = known.get(name)
            if x is None or member is None:
                if at is not _TOP or name not in self.ignored:
                    self._beside(name, x, member, validation, at)
            elif isinstance(member, shape.Leaf):
                if type(x) is str and member.is_text and x.isascii():
                    continue  # most values are like this
                if (problem := member.misfit(x)) is not None:
                    validation.problems.append(Problem(at.steps(name), problem))
            elif isinstance(member, shape.Elements):
                self._elements(name, x, member, validation, at)
            elif not isinstance(x, dict):
                problem = f"expected an object, got {shape.kind(x)}"
                validation.problems.append(Problem(at.steps(name), problem))
            else:
                if not x:
                    self._keep(name, {}, validation, at)
                row = at.steps(name) if member.has_table else at.row
                self._object(x, member, validation, _JsonPath(at, name, row))

    def _elements(
        self, name: str, x: object, member: shape.Elements, validation: Validation, at: _JsonPath
    ) -> None:
        if not isinstance(x, list):
            problem = f"expected a list, got {shape.kind(x)}"
            validation.problems.append(Problem(at.steps(name), problem))
            return
        if not x and member.has_table:
            self._keep(name, [], validation, at)
        parent = _JsonPath(at, name, at.row)
        for position, element in enumerate(x):
            if isinstance(element, dict):
                row = (name, position) if member.has_table else at.row
                place = _JsonPath(parent, position, row)
                self._object(element, member.element, validation, place)
            else:
                problem = f"expected an object, got {shape.kind(element)}"
                validation.problems.append(Problem(at.steps(name, position), problem))

    def _beside(
        self,
        name: str,
        x: object,
        member: shape.Shape | None,
        validation: Validation,
        at: _JsonPath,
    ) -> None:
        """Keeps an explicit null, or a member that the shape does not name."""
        self._keep(name, x, validation, at)
        if member is None:
            validation.unknown.append(at.steps(name))
            if (found := flaw(x)) is not None:
                validation.problems.append(Problem(at.steps(name), found))

    @staticmethod
    def _keep(name: str, x: object, validation: Validation, at: _JsonPath) -> None:
        validation.extra.setdefault(at.row, {})[at.steps(name)[len(at.row) :]] = x
