"""A small lake for the report's tests: six hours, two of them not watched, and hostile text."""

from __future__ import annotations

from pathlib import Path

from pipeline.lake import Lake
from tests.lakes import FAILED, node, put

#: What would run, load, or end something, were it not text.
EVIL = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'><svg onload='window.pwned"
    " = 4'><a href='javascript:window.pwned = 5'>x</a><!-- ]]> </style>"
)
EVIL_NODE = "</script><script>window.pwned=3</script>"
_STRANGE = "\u2028\0\u202e"


def make(folder: Path) -> Path:
    """Listings every 15 minutes from 00:00 to 05:45, none from 02:00 to 03:45, one failed."""
    lake = Lake(folder)
    for minutes in (*range(0, 120, 15), *range(240, 360, 15)):
        work = [
            node("busy", "running"),
            node("lazy", "idle"),
        ]
        bad = [
            node(
                EVIL_NODE,
                "unusable",
                errors=[EVIL],
                start_task_start_time="00:30",
                start_task_end_time="00:31",
                start_task_state="completed",
                start_task_result="failure",
                start_task_exit_code=3,
                start_task_failure_code=EVIL,
                start_task_failure_message=EVIL + _STRANGE,
            )
        ]
        when = f"{minutes // 60:02}:{minutes % 60:02}"
        put(lake, when, {"work": FAILED if minutes == 75 else work, "<b>bad</b>": bad})
    return folder
