"""``sql/history/README.md`` has every fact as the schema declares it.

``python -m tests.history.test_facts_readme`` writes that part.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.schema import facts
from pipeline.schema.facts import Fact

README = Path(__file__).parents[2] / "sql" / "history" / "README.md"
_MERGES = {
    "key": "key",
    "first": "first",
    "last": "last",
    "known": "last known",
    "min": "min",
    "max": "max",
    "carried": "stored only",
    "window": "by the view",
    "day": "stored only",
    "view": "by the view",
}


def section(fact: Fact) -> str:
    """A fact's part of the README."""
    lines = [
        f"### {fact.name}",
        "",
        f"{fact.doc} Grain: {fact.grain}.",
        "",
        "| column | merge | |",
        "|---|---|---|",
    ]
    for each in fact.columns:
        merge = "none" if fact.is_daily and each.merge == "last" else _MERGES[each.merge]
        lines.append(f"| `{each.column.name}` | {merge} | {each.column.doc} |")
    return "\n".join([*lines, ""])


def generated() -> str:
    """The part of the README that the schema writes."""
    return "\n".join(section(fact) for fact in facts.FACTS.values())


def test_every_fact_is_in_the_readme_as_declared() -> None:
    """Grain, columns and merge."""
    assert generated() in README.read_text("utf-8")


def test_there_are_at_most_fifteen_facts_each_with_its_worth() -> None:
    """The table of what each fact is worth has a row of each, and of no other."""
    worth = README.read_text("utf-8").partition("## What each fact is worth")[2]
    named = re.findall(r"^\| `(\w+)` \|", worth.partition("\n## ")[0], re.MULTILINE)
    assert set(named) == facts.FACTS.keys()
    assert len(facts.FACTS) <= 15


def write() -> None:
    """Puts the facts as they are declared today into the README."""
    text = README.read_text("utf-8")
    begin, heading, _ = text.partition("## The facts\n\n")
    assert heading
    README.write_text(begin + heading + generated(), "utf-8")


if __name__ == "__main__":
    write()
