"""The benchmarks run, on tiny inputs, and what is compared is the same; how fast is no test's matter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.bench import __main__ as runner
from tests.bench import bench_compact, bench_pages, figures, made_pages, worth
from tests.bench.figures import Figure
from tests.bench.year import make
from tests.bench.year_truth import Shape
from tests.conftest import PROJECT
from tests.report.browser import needs_chromium


@pytest.mark.filterwarnings("ignore::DeprecationWarning:azure", "ignore:datetime.datetime.utc")
def test_every_rival_makes_the_same_of_the_pages() -> None:
    """Before times are compared; those of the extra ``bench`` where they are installed."""
    pools = {"pool0": made_pages.pools(2, 7)["pool0"]}

    assert {"nodelake", "azure.batch"} <= {*bench_pages.check_equal(pools)}


def test_pages_hold_what_they_are_made_for() -> None:
    """No node twice in a pool, some 4 KB a node."""
    pools = made_pages.pools(12, 20)
    ids = [fact[0] for fact in bench_pages.rivals.facts_of_values(pools["pool0"]) if fact[1] == -1]

    assert [2] * 6 == [len(pages) for pages in pools.values()]
    assert 40 == len(ids) == len(set(ids))
    assert 3500 < sum(map(len, pools["pool1"])) / 40 < 4500


def test_the_table_shows_what_is_met() -> None:
    """A figure over its limit is in bold."""
    told = [Figure("a", 0.4567, 0.5), Figure("b", 1.2, 1.0, "s"), Figure("c", 0.00312)]

    assert [
        "| a | 0.50 | 0.46 |",
        "| b | 1.00 s | **1.20 s** |",
        "| c |  | 0.0031 |",
    ] == figures.table(told).splitlines()[2:]


def test_benchmarks_are_found_by_name() -> None:
    """A module ``bench_<name>`` with a ``run``."""
    names = {"pages", "import", "snapshot", "growth", "bytes", "startup", "tricks"}
    assert names <= runner.benchmarks().keys()


@pytest.mark.parametrize(
    "name",
    [
        "snapshot",
        *(pytest.param(name, marks=pytest.mark.ci) for name in ("import", "bytes", "capture")),
        pytest.param("report", marks=[pytest.mark.ci, needs_chromium]),
    ],
)
def test_whole_runs_work_on_tiny_fleets(name: str) -> None:
    """They check themselves that no node is missing."""
    # a thread of its own: a browser of other tests may have this one's event loop
    with ThreadPoolExecutor(1) as alone:
        figures = alone.submit(runner.benchmarks()[name].run, quick=True).result()

    assert figures[0].limit is not None
    assert all(figure.value > 0 for figure in figures)


def test_the_readme_has_what_each_fact_is_worth() -> None:
    """Which questions read it is of today; its bytes are those weighed last."""
    page = (Path(__file__).parent / "bench" / "README.md").read_text("utf-8")
    assert f"<!-- python -m tests.bench.worth -->\n\n{worth.saved()}\n\n<!-- end" in page


def test_the_readme_of_the_lake_has_the_bytes_that_were_weighed() -> None:
    """A row of each table, and a day of fleets of three sizes, from the whole run saved last."""
    page = (PROJECT / "pipeline" / "lake" / "README.md").read_text("utf-8")
    assert f"\n\n{bench_compact.table()}\n\n" in page
    assert f"\n{bench_compact.days()}\n\n" in page


def test_a_lake_is_weighed_where_days_have_rows_and_facts(tmp_path: Path) -> None:
    """Each file of such a day once: those of tables, and those of facts with the manifest."""
    lake = make(tmp_path / "lake", Shape(nodes=8, pools=2, days=3, kept=2, polls=24))
    observations, tables, made = worth.weigh(lake.root)
    kept = [
        path for path in lake.root.rglob("date=*/*") if path.parent.name > f"date={Shape.start}"
    ]
    assert sum(tables.values()) == sum(p.stat().st_size for p in kept if "compacted" in p.parts)
    assert sum(made.values()) == sum(p.stat().st_size for p in kept if "history" in p.parts)
    assert observations == sum(
        pq.ParquetFile(path).metadata.num_rows for path in kept if "nodes" in path.parts
    )
