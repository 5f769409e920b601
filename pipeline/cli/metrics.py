"""The command ``metrics``: a lake's health as OpenMetrics, for Prometheus's textfile collector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.files import replace
from pipeline.cli.options import connect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.query.metrics import Metric


@click.command(
    epilog="""\b
Examples:
  nodelake metrics
  nodelake metrics -o /var/lib/prometheus/node-exporter/nodelake.prom"""
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.prom",
    help="Write this file, whole or not at all [standard output].",
)
def metrics(output: Path | None) -> int:
    """Print the lake's health as OpenMetrics.

    Age of the last complete snapshot, runs by status, nodes by account, pool,
    state and kind, start-task failures, preemptions and resize errors of the
    last hour, and counts of nodes in trouble. `nodelake schedule
    prometheus-alerts` prints rules for them.
    """
    from pipeline.query.metrics import metrics as families

    with connect() as connection:
        text = exposition(families(connection))
    if output is None:
        click.echo(text, nl=False)
    else:
        replace(output, text)
    return 0


def exposition(families: Iterable[Metric]) -> str:
    """The metrics in the OpenMetrics text format, as node_exporter's textfile collector reads it."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import GaugeMetricFamily
    from prometheus_client.openmetrics.exposition import generate_latest
    from prometheus_client.registry import Collector

    from pipeline.query.metrics import PREFIX

    class Once(Collector):
        def collect(self) -> Iterable[GaugeMetricFamily]:
            for each in families:
                family = GaugeMetricFamily(PREFIX + each.name, each.help, labels=each.labels)
                for labels, value in each.values:
                    family.add_metric(labels, value)
                yield family

        def describe(self) -> Iterable[GaugeMetricFamily]:
            return ()

    registry = CollectorRegistry()
    registry.register(Once())
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # untyped
    return text.decode()


COMMANDS = (metrics,)
