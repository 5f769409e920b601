"""The sections of the page, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from pipeline.report import losses, overview, tables
from pipeline.report.findings import Findings
from pipeline.report.picture import Part

if TYPE_CHECKING:
    import polars as pl


def parts(found: Findings, prices: pl.DataFrame | None, parameters: dict[str, str]) -> list[Part]:
    """Every section that has something to show, in order."""
    # Altair would validate each piece, which takes half of the time; a test does it.
    with alt.utils.schemapi.debug_mode(False):
        made = [
            *overview.fleet_parts(found),
            *overview.node_parts(found),
            *losses.hours_parts(found, prices),
            losses.ready_part(found),
            losses.work_part(found),
        ]
    behind = [tables.of_answer(name, answer, parameters) for name, answer in found.answers.items()]
    made.append(
        Part(
            "Answers",
            "answers",
            "The questions behind this page, with what to know before believing an answer. Each can "
            "be asked again, of any range.",
            tables=behind,
        )
    )
    return made
