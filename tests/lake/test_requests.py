"""How many requests a snapshot and a compaction send, as the README of the lake shows them."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

import pytest

from pipeline.lake import Lake
from pipeline.maintain import compact
from tests.azurite import azurite
from tests.conftest import PROJECT
from tests.service import make_service, small_fleet

README = PROJECT / "pipeline" / "lake" / "README.md"
_REQUEST = re.compile(r'"(\w+) /devstoreaccount1/')
SNAPSHOTS = 6
#: Snapshots a minute of 10 and of 100 accounts that are polled every 5 minutes.
RATES = (2, 20, 20)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Requests by method: of the last of six snapshots of ten pools, and of their compaction."""
    folder = tmp_path_factory.mktemp("azurite")
    log = folder / "requests.log"
    service = make_service(small_fleet(**{f"pool{i}": 5 for i in range(10)}), page_limit=1000)
    fleet = service.emulator.fleet
    start = fleet.now
    with azurite(folder, log=log) as server, pytest.MonkeyPatch.context() as patch:
        server.make_container("lake")
        for name, value in server.settings.items():
            patch.setenv(name, value)
        for number in range(SNAPSHOTS):
            fleet.advance(start + number * timedelta(minutes=5))
            begun = len(_REQUEST.findall(log.read_text()))
            outcome = service.run(Lake("az://lake/fleet"))
        stored = _REQUEST.findall(log.read_text())
        compact(Lake("az://lake/fleet"), clock=lambda: start + timedelta(days=2))
        compacted = _REQUEST.findall(log.read_text())
    return {
        "batch": Counter(GET=int(str(outcome.row["requests"]))),
        "snapshot": Counter(stored[begun:]),
        "compaction": Counter(compacted[len(stored) :]),
    }


def row(title: str) -> str:
    """The line of the README's table with that title."""
    return next(line for line in README.read_text("utf-8").splitlines() if line.startswith(title))


def test_the_readme_counts_the_requests_to_blob(requests: dict[str, Counter[str]]) -> None:
    """By method, of a snapshot; and as many a minute as snapshots."""
    counted = requests["snapshot"]
    each = counted.total()
    a_minute = " | ".join(str(rate * each) for rate in RATES)
    assert row("| requests a minute to Blob") == (
        f"| requests a minute to Blob | {a_minute} | measured (b): {each} a snapshot "
        f"({counted['PUT']} writes, {counted['HEAD']} heads, {counted['GET']} reads and lists) |"
    )


def test_the_readme_counts_the_requests_to_batch(requests: dict[str, Counter[str]]) -> None:
    """Those that the ledger counts: the list of pools, a page of each pool's nodes, the node counts."""
    each = requests["batch"].total()
    shown = row("| requests a minute to one Batch account of 10 pools")
    assert f"measured (a): {each} a snapshot;" in shown
    assert shown.split(" | ")[1:4] == [f"{each / 5:.1f}"] * 3


def test_the_readme_counts_the_requests_of_a_compaction(
    requests: dict[str, Counter[str]],
) -> None:
    """Within a tenth."""
    (shown,) = re.findall(r"compacting the six took some (\d+) requests", README.read_text("utf-8"))
    assert requests["compaction"].total() == pytest.approx(int(shown), rel=0.1)
