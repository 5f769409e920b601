"""The report: one self-contained HTML file of pictures and tables; and the charts of notebooks.

Modules that need polars are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.report.findings import Findings, NothingListed, gather
    from pipeline.report.lake_charts import (
        fleet_chart,
        node_map,
        ready_chart,
        start_task_chart,
        state_timeline,
        troubled_nodes,
    )
    from pipeline.report.notebook import use_pictures
    from pipeline.report.page import render
    from pipeline.report.work_charts import cost_chart, costs, task_chart

#: The questions of the page, with their parameters besides range and pool.
QUESTIONS: dict[str, dict[str, object]] = {
    "black_hole_nodes": {},
    "flapping_nodes": {},
    "stuck_nodes": {},
    "start_task_storms": {},
    "resize_errors": {},
    "autoscale_errors": {},
    "start_task_failures": {},
    "start_task_failure_rate": {},
    "boot_latency": {},
    "start_task_durations": {},
    "idle_cost": {},
    "idle_streaks": {},
    "broken_cost": {},
    "preemptions": {},
    "census": {},
    "nodes_with_errors": {},
    "error_codes": {},
    "agent_versions": {},
    "image_drift": {},
    "slot_utilisation": {"step": "day"},
    "coverage": {},
    "failed_listings": {},
    "unknown_fields": {},
}

_FROM = {
    "findings": ("Findings", "NothingListed", "gather"),
    "lake_charts": (
        "fleet_chart",
        "node_map",
        "ready_chart",
        "start_task_chart",
        "state_timeline",
        "troubled_nodes",
    ),
    "work_charts": ("cost_chart", "costs", "task_chart"),
    "notebook": ("use_pictures",),
    "page": ("render",),
}

__all__ = [
    "QUESTIONS",
    "Findings",
    "NothingListed",
    "cost_chart",
    "costs",
    "fleet_chart",
    "gather",
    "node_map",
    "ready_chart",
    "render",
    "start_task_chart",
    "state_timeline",
    "task_chart",
    "troubled_nodes",
    "use_pictures",
]


def __getattr__(name: str) -> Any:
    for module, names in _FROM.items():
        if name in names:
            return getattr(importlib.import_module(f"pipeline.report.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
