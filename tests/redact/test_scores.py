"""How many secrets are masked and how many harmless lines are not: the table that the README shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa

from pipeline.redact import Redactor, redact_text
from tests.conftest import PROJECT
from tests.redact.handwritten import LINES
from tests.redact.planted_lines import Planted, planted


def _texts(name: str) -> list[str]:
    """The texts of a file, one a line; a line that begins with a tab goes on with the one before."""
    whole = (Path(__file__).parent / name).read_text("utf-8").replace("\n\t", "\r")
    return [line.replace("\r", "\n") for line in whole.strip("\n").split("\n")]


HARMLESS = _texts("harmless.txt")
#: Start tasks, command lines and errors of Batch, their secrets between « and ».
BATCH = _texts("batch_lines.txt")
MOST_ALARMS = 0.05
LEAST_RECALL = 0.99


def handwritten() -> Iterator[Planted]:
    """Each line by hand; one that begins with a space, or follows a continued one, is no new one."""
    line = ""
    for row in [*LINES.split("\n"), ""]:
        if line and (row.startswith(" ") or line.endswith(("\\", "^", "`"))):
            line += "\n" + row
            continue
        if line:
            yield _marked(line)
        line = row
    yield from map(_marked, BATCH)


def _marked(line: str) -> Planted:
    parts = tuple(re.findall("«(.*?)»", line, re.DOTALL))
    return Planted("written by hand", line.replace("«", "").replace("»", ""), parts)


@cache
def lines() -> tuple[Planted, ...]:
    """All lines with a secret."""
    return (*planted(), *handwritten())


def is_masked(line: Planted) -> bool:
    """Whether no part of a line's secret can be read in what is shown of it."""
    shown = redact_text(line.line)
    return not any(part in shown for part in line.parts)


def table() -> str:
    """Recall by kind, and false alarms."""
    total = Counter(line.kind for line in lines())
    masked = Counter(line.kind for line in lines() if is_masked(line))
    alarms = sum(redact_text(text) != text for text in HARMLESS)
    rows = [
        "| lines | masked | of | share |",
        "|---|---|---|---|",
        *(_row(f"secrets: {kind}", masked[kind], count) for kind, count in total.items()),
        _row("secrets, all", masked.total(), total.total()),
        _row("harmless", alarms, len(HARMLESS)),
    ]
    return "\n".join(rows)


def _row(name: str, count: int, of: int) -> str:
    return f"| {name} | {count:,} | {of:,} | {count / of:.1%} |"


def test_the_readme_has_the_table() -> None:
    """It shows what this test measures; run this module to print it anew."""
    assert table() in (PROJECT / "README.md").read_text("utf-8")


def test_nearly_every_secret_is_masked() -> None:
    """At least 99 of a hundred, of more than five hundred lines; the ones that show are named."""
    assert len(lines()) >= 500
    assert all(part in line.line for line in lines() for part in line.parts if "\n" not in part)
    shown = [line.line for line in lines() if not is_masked(line)]
    assert 1 - len(shown) / len(lines()) >= LEAST_RECALL, shown


def test_other_values_fare_no_worse() -> None:
    """The generator's seed is no part of the result."""
    others = planted(seed=7, each=2)
    shown = [line.line for line in others if not is_masked(line)]
    assert 1 - len(shown) / len(others) >= LEAST_RECALL, shown


def test_harmless_lines_stay_readable() -> None:
    """At most 5 of a hundred, of more than 150 lines, are masked."""
    assert len(HARMLESS) >= 150
    alarms = [text for text in HARMLESS if redact_text(text) != text]
    assert len(alarms) / len(HARMLESS) <= MOST_ALARMS, alarms


def test_masking_twice_is_masking_once_and_a_column_is_its_texts() -> None:
    """On every line of the corpus."""
    texts = [*(line.line for line in lines()), *HARMLESS]
    once = [redact_text(text) for text in texts]

    assert once == [redact_text(text) for text in once]
    assert once == Redactor().column(pa.array(texts)).to_pylist()


if __name__ == "__main__":
    print(table())
