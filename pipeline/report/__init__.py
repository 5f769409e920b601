"""The report: one self-contained HTML file of pictures, and of the tables behind them.

No script, no font and no request: the pictures are SVG, drawn when the report is made.
"""

from __future__ import annotations

from pipeline.report.gather import Findings, NothingListed, gather
from pipeline.report.page import render

#: The questions that are asked for the page, with what they are asked beside range and pool.
QUESTIONS: dict[str, dict[str, object]] = {
    "black_hole_nodes": {},
    "flapping_nodes": {},
    "stuck_nodes": {},
    "start_task_storms": {},
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

__all__ = ["QUESTIONS", "Findings", "NothingListed", "gather", "render"]
