"""The README of sql/: every question, check, metric and table, from their headers and the schema.

``python -m tests.query.documents`` writes it.
"""

from __future__ import annotations

import re

from pipeline import query, schema
from pipeline.query.checks import checks
from tests.conftest import PROJECT

README = PROJECT / "sql" / "README.md"
_TIMES = " \u00d7 "
_PART = re.compile(
    r"(<!-- (\w+): python -m tests\.query\.documents -->\n).*?(<!-- end -->)", re.DOTALL
)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _questions() -> str:
    parts = []
    for asked in query.questions().values():
        parameters = "; ".join(
            f"`{each.name}`" + (f" [{each.default}]" if each.default not in (None, "null") else "")
            + f": {_cell(each.doc)}"
            for each in asked.parameters
        )  # fmt: skip
        parts.append(
            f"### {asked.name}\n\n{asked.question}\n\n"
            f"- grain: {asked.grain}\n"
            f"- columns: {', '.join(f'`{column}`' for column in asked.columns)}\n"
            + (f"- parameters: {parameters}\n" if parameters else "")
            + (f"- caveats: {_cell(asked.caveats)}\n" if asked.caveats else "")
        )
    return "\n".join(parts)


def _checks() -> str:
    rows = (f"| `{c.name}` | {c.severity} | {_cell(c.check)} |" for c in checks().values())
    return "\n".join(["| check | severity | finds |", "|---|---|---|", *rows]) + "\n"


def _metrics() -> str:
    rows = []
    for path in sorted((PROJECT / "sql" / "metrics").glob("*.sql")):
        header = dict(re.findall(r"^-- (metric|labels): +(.*)$", path.read_text(), re.MULTILINE))
        rows.append(f"| `nodelake_{path.stem}` | {header['labels']} | {_cell(header['metric'])} |")
    return "\n".join(["| metric | labels | is |", "|---|---|---|", *rows]) + "\n"


def _tables() -> str:
    rows = (
        f"| `{t.name}` | {t.grain.replace(' x ', _TIMES)} | {_cell(t.doc)} |"
        for t in schema.TABLES.values()
    )
    return "\n".join(["| table | grain | holds |", "|---|---|---|", *rows]) + "\n"


def document(text: str) -> str:
    """The README with what the headers say today in it."""
    made = {"questions": _questions, "checks": _checks, "metrics": _metrics, "tables": _tables}
    return _PART.sub(lambda match: f"{match[1]}\n{made[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    README.write_text(document(README.read_text("utf-8")), "utf-8")
