"""What every test may use: the shared material beside the project, and the --long flag."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared"

#: Lakes lie in memory where there is room for them (a run needs less than half a gigabyte): each file
#: of theirs is synced, and a disk takes its time over that.
_MEMORY = Path("/dev/shm")
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))  # where pytest makes tmp_path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --ci, what CI runs beside the short forms, and --long, soaks in their full length."""
    parser.addoption("--ci", action="store_true", help="run what CI runs, ten minutes more")
    parser.addoption("--long", action="store_true", help="run the long forms, minutes to hours")


#: Whose tests, or the lakes they read, take longest. On several workers these begin first: one that has
#: no more tests takes the last ones of another, so no one waits for these; lakes are seldom made twice.
FIRST = {
    *("questions", "spark", "test_chaos", "test_kill", "test_many_writers", "test_node_story"),
    *("test_notebooks", "test_readme", "test_report", "test_report_page", "test_score"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On several workers the longest first; skips the long forms unless they are asked for."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: FIRST.isdisjoint(item.path.with_suffix("").parts))
    if config.getoption("--long"):
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long form: run with --long"))
        elif "ci" in item.keywords and not is_whole(config):
            item.add_marker(pytest.mark.skip(reason="CI's form: run with --ci"))


def is_whole(config: pytest.Config) -> bool:
    """Whether everything but the long forms is run: the short suite takes five minutes."""
    return bool(config.getoption("--ci") or config.getoption("--long") or os.environ.get("CI"))


@pytest.fixture(scope="session")
def whole(pytestconfig: pytest.Config) -> bool:
    """For tests that loop over much: every one of it, or every few."""
    return is_whole(pytestconfig)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the contract and the recordings; on a user's machine it may be absent."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} is missing in CI")
        pytest.skip(f"needs {SHARED}: the contract and the recordings")
    return SHARED


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI nothing may be skipped but the long forms: a part that is missing there is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", ())]
    missing = [reason for reason in skipped if "long form" not in reason]
    if missing:
        reporter.write_line(f"CI skips no test, but here: {missing}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
