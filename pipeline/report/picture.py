"""The parts of the page: sections with pictures in two widths, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from pipeline.report.findings import Bin
from pipeline.report.frame import Chart, Frame
from pipeline.report.svg import draw
from pipeline.report.tables import HtmlTable
from pipeline.report.text import count

#: Widths of pictures in pixels: the whole page, half of it, a third; on a phone.
FULL, HALF, THIRD, NARROW = 1060, 516, 340, 360
#: The most pools with a line each.
LINES = 12


@dataclass(frozen=True)
class Key:
    """A colour and what it stands for."""

    ink: str
    name: str


@dataclass(frozen=True)
class Picture:
    """One picture: for a wide page, and for a narrow one where that needs another."""

    wide: Markup
    narrow: Markup | None = None
    title: str = ""
    note: str = ""
    keys: Sequence[Key] = ()
    is_full: bool = False


@dataclass
class Part:
    """A section of the page; ``shape`` is how its pictures lie: full, half, third."""

    title: str
    anchor: str
    note: str = ""
    shape: str = "full"
    pictures: list[Picture] = field(default_factory=list)
    tables: list[HtmlTable] = field(default_factory=list)


def both(
    make: Callable[[Frame], Chart], label: str, wide: Frame, narrow: Frame
) -> tuple[Markup, Markup]:
    """A picture in two widths."""
    # phones have no pointer: their pictures need no tooltips
    return draw(make(wide), label), draw(make(narrow), label, has_titles=False)


def watched(bins: Sequence[Bin]) -> list[bool]:
    """Whether each bin has a listing."""
    return [one.states is not None for one in bins]


def left_out(all_: int, shown: int, what: str) -> str:
    """A sentence about what is not drawn; empty where all is."""
    return f"{count(all_ - shown, f'smaller {what}')} left out." if all_ > shown else ""
