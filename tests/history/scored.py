"""The score's table in the README of ``sql/history``, from the results of the long records.

``python -m pytest tests/history/test_score.py --long`` saves them in ``score.json``;
``python -m tests.history.scored`` writes the table.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT
from tests.score import Score

README = PROJECT / "sql" / "history" / "README.md"
SAVED = Path(__file__).parent / "score.json"
#: The long records by name: hours, minutes between polls, and the heading of the column.
RECORDS = {
    "week": (168, 5, "week, every 5 minutes"),
    "day": (24, 1, "day, every minute"),
}
_TABLE = re.compile(
    r"(?<=<!-- python -m tests\.history\.scored -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL
)
#: The title of a row, and what was compared.
_ROWS = (
    ("states: start exact", "state start exact"),
    ("states: end within its bounds", "state end inside its bounds"),
    ("nodes declared gone: had left, within the bounds", "gone when it says"),
    ("task runs ever listed: stored exactly once", "task run once"),
    ("task ends exact", "task end exact"),
    ("start-task runs exact", "start task run true"),
    ("boots exact", "boot exact"),
    ("error episodes true", "error episode true"),
    ("(day, pool, state): true hours within the bounds", "true hours inside the bounds"),
)
#: The title of a row, what was counted, and its unit.
_COUNTS = (
    ("node ids that several nodes had, kept apart", "reused ids kept apart", ""),
    ("gaps in which runs were missed, each found exactly", "task gaps exact", ""),
    ("runs missed in these gaps", "task runs missed", ""),
    ("share of hours that are certain", "certain hours, percent", " %"),
)


def save(name: str, score: Score) -> None:
    """Stores the result of one long record, beside that of the other."""
    results = json.loads(SAVED.read_text("utf-8")) if SAVED.exists() else {}
    results[name] = {
        "snapshots": len(score.recorded.taken_at),
        "checked": dict(score.checked),
        "wrong": Counter(each.partition(":")[0] for each in score.wrong),
    }
    SAVED.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")


def table() -> str:
    """The table of the results that were saved last."""
    results: list[dict[str, Any]] = [json.loads(SAVED.read_text("utf-8"))[name] for name in RECORDS]

    def line(title: str, *cells: str) -> str:
        return f"| {' | '.join((title, *cells))} |"

    def compared(result: dict[str, Any], what: str) -> str:
        checked = result["checked"][what]
        return f"{checked - result['wrong'].get(what, 0):,} of {checked:,}"

    return "\n".join(
        [
            line("", *(heading for _, _, heading in RECORDS.values())),
            "|---|---|---|",
            line("snapshots", *(f"{result['snapshots']:,}" for result in results)),
            *(line(title, *(compared(each, what) for each in results)) for title, what in _ROWS),
            *(
                line(title, *(f"{each['checked'][what]:,}{unit}" for each in results))
                for title, what, unit in _COUNTS
            ),
        ]
    )


def document(text: str) -> str:
    """The README with the table of today in it."""
    return _TABLE.sub(lambda _: table(), text)


if __name__ == "__main__":
    README.write_text(document(README.read_text("utf-8")), "utf-8")
