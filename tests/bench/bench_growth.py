"""How a snapshot's memory and processor time grow with the fleet: to a million nodes in 200 pools.

The pages are made up, 4 KB a node, and come gzipped and without delay from a lean process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench import made_pages, processes
from tests.bench.figures import Figure
from tests.bench.served import lay_out, served


def fleet(nodes: int, pools: int, per_page: int) -> dict[str, list[bytes]]:
    """The pages of each pool; all pools have the same ones."""
    pages = nodes // pools // per_page
    made = [body for pool in made_pages.pools(pages, per_page).values() for body in pool]
    return {f"pool{number:03}": made for number in range(pools)}


def measure(nodes: int, pools: int, per_page: int) -> processes.Cost:
    """One snapshot of such a fleet."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder, fleet(nodes, pools, per_page))
        with served(folder, 0) as environment:
            # A busy machine may take longer than a cron job should.
            return processes.snapshot(environment, folder / "lake.d", "--deadline", "1800")


def run(quick: bool) -> list[Figure]:
    """Peaks of the largest two fleets; seconds a node of each against the one a tenth its size."""
    scale = 100 if quick else 1
    per_page = 1000 // scale
    sizes = [(1_000, 1), (10_000, 10), (100_000, 100), (1_000_000, 200)]
    if quick:
        sizes = sizes[:3]
    costs = {nodes: measure(nodes // scale, pools, per_page) for nodes, pools in sizes}
    counts = [nodes for nodes, _ in sizes]
    *_, smaller, small, large = counts
    peak, seconds = costs[large].peak_bytes, {n: c.cpu_seconds for n, c in costs.items()}
    # What starting takes is in each, so that what a further node costs shows growth.
    further = (seconds[large] - seconds[small]) / (large - small)
    before = (seconds[small] - seconds[smaller]) / (small - smaller)
    details = {str(nodes): vars(cost) for nodes, cost in costs.items()}
    what = f"a snapshot of {large:,} nodes in {sizes[-1][1]} pools"
    shown = " / ".join(f"{seconds[nodes]:.1f}" for nodes in counts)
    return [
        Figure(
            f"{what}: peak memory against one of {small:,}",
            peak / costs[small].peak_bytes,
            1.2,
            "",
            details,
        ),
        Figure(f"{what}: peak memory", peak / 1e6, 600, "MB"),
        Figure(
            f"growth: processor time of a further node from {small:,} to {large:,} nodes, against "
            f"from {smaller:,} to {small:,} (snapshots of {', '.join(f'{n:,}' for n in counts)} "
            f"nodes took {shown} s)",
            further / before,
            1.1,
        ),
    ]
