"""Metrics of a lake for Prometheus: one family a file of ``sql/metrics``, and counts of troubled nodes.

No label holds a node's id: a changing fleet would make ever more series.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.query.connection import Connection
from pipeline.query.sql_files import sql_directory

PREFIX = "nodelake_"
#: The questions whose rows are nodes in trouble, by the word of the label.
TROUBLES = {
    "black_hole": "black_hole_nodes",
    "flapping": "flapping_nodes",
    "stuck": "stuck_nodes",
}
#: The hours in which trouble counts; the thresholds are those of the questions.
_TROUBLE_HOURS = 24
_HEADER = re.compile(r"^-- (metric|labels): +(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Metric:
    """One family: name without the prefix, help, labels, and a value for each set of labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: tuple[tuple[tuple[str, ...], float], ...]


def metrics(connection: Connection, now: datetime | None = None) -> Iterator[Metric]:
    """Every metric of a lake, by name.

    Raises:
        LakeError: the lake cannot be read.
    """
    for path in sorted((sql_directory() / "metrics").glob("*.sql")):
        text = path.read_text("utf-8")
        header = dict(_HEADER.findall(text))
        labels = tuple(re.findall(r"\w+", header["labels"]))
        rows = connection.table(text.rstrip().removesuffix(";")).to_pylist()
        values = ((tuple(str(row[each]) for each in labels), float(row["value"])) for row in rows)
        yield Metric(path.stem, header["metric"], labels, tuple(sorted(values)))
    yield _troubled(connection, now or datetime.now(UTC))
    written = (now or datetime.now(UTC)).timestamp()
    yield Metric(
        "written_timestamp_seconds", "When these metrics were written.", (), (((), written),)
    )


def _troubled(connection: Connection, now: datetime) -> Metric:
    """Counts of nodes in trouble within the last day, from the questions with these names."""
    since = (now - timedelta(hours=_TROUBLE_HOURS)).isoformat()
    found: Counter[tuple[str, ...]] = Counter()
    pools = connection.table("select distinct account, pool_id from nodes_latest").to_pylist()
    for trouble, question in TROUBLES.items():
        for pool in pools:
            found[pool["account"], pool["pool_id"], trouble] = 0
        rows = connection.ask(question, **{"from": since}).to_pylist()
        for key in {(row["account"], row["pool_id"], row["node_id"]) for row in rows}:
            found[key[0], key[1], trouble] += 1
    values = tuple(sorted((key, float(count)) for key, count in found.items()))
    text = f"Nodes in trouble within the last {_TROUBLE_HOURS} hours, as TROUBLE_nodes lists them."
    return Metric("troubled_nodes", text, ("account", "pool", "trouble"), values)
