"""``nodelake metrics``: what Prometheus is given, against rows counted in Python, and the real thing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pipeline import cli, query
from pipeline.emulator import Emulator, Fleet
from pipeline.lake import Lake
from tests.conftest import PROJECT
from tests.parts import program
from tests.service import START, rows, small_fleet

INSTALL = "apt-get install prometheus prometheus-node-exporter"


pytestmark = pytest.mark.usefixtures("nowhere")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, read by Prometheus's own client."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_nodes_are_counted_as_listed(lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """nodelake_nodes has the nodes of the last listing by pool, state and kind, and all of them."""
    assert cli.run(["metrics", "--lake", lake]) == 0
    found = samples(capsys.readouterr().out)
    expected: Counter[tuple[tuple[str, str], ...]] = Counter()
    for row in rows(Lake(lake), "from nodes"):
        kind = "dedicated" if row["is_dedicated"] else "spot"
        labels = {
            "account": row["account"], "pool": row["pool_id"], "state": row["state"], "kind": kind,
        }  # fmt: skip
        expected[tuple(sorted(labels.items()))] += 1
    nodes = {labels: value for (name, labels), value in found.items() if name == "nodelake_nodes"}
    assert {**expected} == nodes


def test_the_last_complete_snapshot_is_dated(lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its time and its age agree with the ledger's row."""
    assert cli.run(["metrics", "--lake", lake]) == 0
    found = {name: value for (name, _), value in samples(capsys.readouterr().out).items()}
    [row] = rows(Lake(lake), "from snapshots")
    at = row["snapshot_at"].timestamp()
    assert at == found["nodelake_last_complete_snapshot_timestamp_seconds"]
    age = found["nodelake_last_complete_snapshot_age_seconds"]
    assert abs(found["nodelake_written_timestamp_seconds"] - at - age) < 60


def test_no_label_is_a_node(lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Series do not grow with every node that was ever there."""
    assert cli.run(["metrics", "--lake", lake]) == 0
    text = capsys.readouterr().out
    assert not any(row["node_id"] in text for row in rows(Lake(lake), "from nodes"))


def test_every_file_of_metrics_has_a_header_and_answers_no_rows_on_an_empty_lake(
    tmp_path: Path,
) -> None:
    """sql/metrics: a help, the labels as grain and as columns, caveats, a value; without rows."""
    with query.connect(tmp_path / "empty") as connection:
        for path in sorted((PROJECT / "sql" / "metrics").glob("*.sql")):
            text = path.read_text()
            header = dict(re.findall(r"^-- (\w+): +(.+)$", text, re.MULTILINE))
            assert ["metric", "grain", "labels", "caveats"] == [*header], path.stem
            labels = header["labels"].split(", ")
            assert labels == header["grain"].split(" x "), path.stem
            answer = connection.table(text.rstrip().removesuffix(";"))
            assert [*labels, "value"] == answer.column_names, path.stem
            assert answer.num_rows == 0


def test_the_file_is_whole_or_the_old_one(
    lake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be replaced stays as it was, and nothing is left beside it."""
    path = tmp_path / "out" / "nodelake.prom"
    assert cli.run(["metrics", "--lake", lake, "-o", str(path)]) == 1
    assert "cannot be written" in capsys.readouterr().err
    path.parent.mkdir()
    path.write_text("old")
    assert cli.run(["metrics", "--lake", "az://container/without-an-account", "-o", str(path)]) != 0
    assert path.read_text() == "old"
    assert cli.run(["metrics", "--lake", lake, "-o", str(path)]) == 0
    assert path.read_text().endswith("# EOF\n")
    assert [path] == [*path.parent.iterdir()]


def test_promtool_takes_them(lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`promtool check metrics` has nothing to say."""
    promtool = program("promtool", INSTALL)
    assert cli.run(["metrics", "--lake", lake]) == 0
    text = capsys.readouterr().out
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*command: str | Path) -> Iterator[None]:
    """A program in the background, ended at the end."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Waits; fails where it does not come about."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except OSError:  # it does not listen yet
            pass
        time.sleep(0.2)
    pytest.fail("it did not come about in time")


@pytest.mark.ci
def test_an_alert_fires_when_the_account_falls_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real node_exporter and Prometheus scrape the file; the printed rule fires once polls fail.

    The rules are those that are printed, with seconds in place of minutes.
    """
    prometheus = program("prometheus", INSTALL)
    exporter = program("prometheus-node-exporter", INSTALL)
    (tmp_path / "textfiles").mkdir()
    file = tmp_path / "textfiles" / "nodelake.prom"
    lake = str(tmp_path / "lake")
    monkeypatch.setattr(sys, "argv", ["nodelake"])
    assert cli.run(["schedule", "prometheus-alerts", "--lake", lake]) == 0
    rules = capsys.readouterr().out
    rules = re.sub(r"> 900$", "> 12", rules, flags=re.MULTILINE)
    rules = re.sub(r"for: \d+m", "for: 1s", rules)
    (tmp_path / "rules.yml").write_text(rules)
    exported, served = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{tmp_path}/rules.yml]\n"
        "scrape_configs: [{job_name: node, static_configs: "
        f"[{{targets: ['127.0.0.1:{exported}']}}]}}]\n"
    )

    def alerts() -> set[str]:
        url = f"http://127.0.0.1:{served}/api/v1/alerts"
        with urllib.request.urlopen(url, timeout=5) as reply:
            found = json.load(reply)["data"]["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}

    def scraped() -> bool:
        url = f"http://127.0.0.1:{served}/api/v1/query?query=nodelake_nodes"
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(json.load(reply)["data"]["result"])

    def poll() -> int:
        code = cli.run(["snapshot", "--lake", lake, "--deadline", "5"])
        cli.run(["metrics", "--lake", lake, "-o", str(file)])
        return code

    emulator = Emulator(Fleet(small_fleet(), seed=3, start=START))
    with (
        running(
            exporter, f"--web.listen-address=127.0.0.1:{exported}",
            f"--collector.textfile.directory={file.parent}",
        ),
        running(
            prometheus, f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{served}",
        ),
    ):  # fmt: skip
        with emulator.serve() as server:
            for name, value in server.settings.items():
                monkeypatch.setenv(name, value)
            assert poll() == 0
            until(scraped)
            assert poll() == 0
            until(lambda: "NodelakeSnapshotLate" not in alerts())
        assert poll() == 1  # no one answers any more
        until(lambda: "NodelakeSnapshotLate" in alerts())
