"""What each fact is worth: its bytes a node and day, and the questions that read it.

``python -m tests.bench.worth LAKE`` weighs a lake and saves ``worth.json``; without a lake
the README's table is printed from what was saved.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from pipeline import query
from pipeline.query import history
from pipeline.schema import facts

SAVED = Path(__file__).parent / "worth.json"
Bytes = dict[str, int]


def readers() -> dict[str, list[str]]:
    """The questions that read each fact, itself or through views."""
    read = {name: history.read_by(asked.sql) for name, asked in query.questions().items()}
    return {fact: [name for name, of in read.items() if fact in of] for fact in facts.FACTS}


def weigh(root: Path) -> tuple[int, Bytes, Bytes]:
    """Of the days that have both rows and facts: node observations, bytes of tables, of facts."""
    observations = 0
    tables: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for manifest in sorted(root.glob("history/manifests/date=*/*.json")):
        day, account = manifest.parent.name, manifest.stem
        rows = root / "compacted" / "nodes" / day / f"{account}.parquet"
        if not rows.exists():
            continue
        observations += pq.ParquetFile(rows).metadata.num_rows
        for zone, counted in (("compacted", tables), ("history", made)):
            for path in root.glob(f"{zone}/*/{day}/{account}.*"):
                counted[path.parent.parent.name] += path.stat().st_size
    return observations, dict(tables), dict(made)


def table(observations: int, days_of_nodes: float, tables: Bytes, made: Bytes) -> str:
    """The README's table of facts, and what all of them weigh against the tables."""
    lines = ["| fact | bytes a node and day | questions that read it |", "|---|---|---|"]
    read = readers()
    for fact in sorted(facts.FACTS, key=lambda each: -made.get(each, 0)):
        names = ", ".join(f"`{name}`" for name in read[fact])
        lines.append(f"| `{fact}` | {made.get(fact, 0) / days_of_nodes:,.1f} | {names} |")
    each, of_tables = (sum(sizes.values()) / observations for sizes in (made, tables))
    lines.append("")
    lines.append(
        f"All facts and manifests take {each:.2f} bytes a node observation, the compacted tables "
        f"of the same days {of_tables:.2f}: {each / of_tables:.2f} times."
    )
    return "\n".join(lines)


def saved() -> str:
    """The table of what was weighed last."""
    kept = json.loads(SAVED.read_text())
    return table(
        kept["observations"], kept["observations"] / kept["polls"], kept["tables"], kept["facts"]
    )


def main() -> None:
    """Weighs the lake that is named; prints the table."""
    if sys.argv[1:]:
        observations, tables, made = weigh(Path(sys.argv[1]))
        kept = {"observations": observations, "polls": 288, "tables": tables, "facts": made}
        SAVED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(saved())


if __name__ == "__main__":
    main()
