"""``nodelake schedule``: each file is what the program that reads it takes, and holds no key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from crontab import CronTab
from pycep import BicepParser

from pipeline import cli
from pipeline.cli.schedule import KINDS
from tests.conftest import PROJECT
from tests.parts import program

KEY = "bm90LWEta2V5LWJ1dC1hLXNlY3JldA=="


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account in the environment, with a key that must never be printed."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("AZURE_", "NODELAKE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", "https://render.westeurope.batch.azure.com")
    monkeypatch.setenv("AZURE_BATCH_ACCOUNT", "render")
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", KEY)
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("nodelake"))])


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints, exit code 0."""
    assert cli.run(["schedule", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_holds_a_key(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Variables are named; their values stay where they are. Three lines say how to install it."""
    text = printed(capsys, kind, "--lake", "az://lake/fleet")
    assert KEY not in text
    assert "az://lake/fleet" in text
    assert [f" {n}. " in text for n in (1, 2, 3)] == [True] * 3


def test_cron_lines_parse(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Every line is a valid entry of a crontab; a percent sign in a path is escaped."""
    (tmp_path / "100%").mkdir()
    text = printed(capsys, "cron", "--lake", "100%/lake", "--every", "2")
    entries = [*CronTab(tab=text)]
    assert [True] * 3 == [entry.is_valid() for entry in entries]
    assert ["*/2 * * * *", "30 */6 * * *", "*/15 * * * *"] == [str(e.slices) for e in entries]
    assert f"--lake {tmp_path}/100\\%/lake" in text
    assert "snapshot" in entries[0].command
    assert "compact" in entries[1].command
    assert "status --max-age 6" in entries[2].command


def test_systemd_takes_the_units(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--output` writes four units, and systemd-analyze finds nothing wrong with them."""
    analyze = program("systemd-analyze", "apt-get install systemd")
    files = printed(capsys, "systemd", "--lake", "/srv/lake", "-o", str(tmp_path / "u")).split()
    assert [f"nodelake-{name}" for name in (
        "snapshot.service", "snapshot.timer", "compact.service", "compact.timer",
    )] == [Path(file).name for file in files]  # fmt: skip
    service = (tmp_path / "u" / "nodelake-snapshot.service").read_text()
    assert re.search(r"^ExecStart=/\S*nodelake snapshot --lake /srv/lake$", service, re.MULTILINE)
    for file in files:  # systemd looks for the program itself, and this machine has none there
        text = Path(file).read_text()
        Path(file).write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text))
    done = subprocess.run([analyze, "verify", *files], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "nodelake" in line]
    assert ours == []


def test_bicep_parses(capsys: pytest.CaptureFixture[str]) -> None:
    """A Bicep parser reads the Container Apps jobs: two of them, with an identity and no key."""
    text = printed(capsys, "container-apps", "--lake", "az://lake/fleet")
    tree = BicepParser().parse(text=text)
    kinds = [each["type"] for each in tree["resources"].values() if not each["existing"]]
    assert kinds.count("Microsoft.App/jobs") == 2
    assert "Microsoft.ManagedIdentity/userAssignedIdentities" in kinds
    assert {"environmentId", "image", "registry", "storageAccountName"} <= {*tree["parameters"]}
    # the account of the lake is the parameter, and its container is made
    assert re.search(r"'AZURE_STORAGE_ACCOUNT'\s+value: storageAccountName\n", text)
    assert "'${storageAccountName}/default/lake'" in text


def test_a_container_has_no_lake_on_its_disk(capsys: pytest.CaptureFixture[str]) -> None:
    """A lake on this machine's disk is refused with what to do instead."""
    assert cli.run(["schedule", "container-apps", "--lake", "/srv/lake"]) == 2
    assert "--lake az://" in capsys.readouterr().err


@pytest.fixture
def several(tmp_path: Path) -> None:
    """A settings file of two accounts, one with a key."""
    (tmp_path / "nodelake.toml").write_text(
        '[[accounts]]\nname = "render"\nendpoint = "https://render.westeurope.batch.azure.com"\n'
        'key_env = "RENDER_KEY"\n'
        '[[accounts]]\nname = "spot"\nendpoint = "https://spot.westeurope.batch.azure.com"\n'
    )


def linted(path: Path, text: str) -> list[str]:
    """The lines of a Dockerfile in which hadolint finds nothing."""
    path.write_text(text)
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    return text.splitlines()


def test_the_dockerfile_passes_a_linter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """hadolint finds nothing; the image runs as no root and without a shell."""
    lines = linted(tmp_path / "Dockerfile", printed(capsys, "dockerfile"))
    assert "USER 65532:65532" in lines
    assert any(line.startswith('ENTRYPOINT ["') for line in lines)
    assert not any("nodelake.toml" in line for line in lines)


def test_the_workflow_is_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    """The GitHub workflow parses; it records and closes days, signed in without a key."""
    flow = yaml.safe_load(printed(capsys, "github", "--lake", "az://lake/fleet"))
    steps = flow["jobs"]["record"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert ["pip install .", "nodelake snapshot --lake az://lake/fleet",
            "nodelake compact --lake az://lake/fleet"] == runs  # fmt: skip
    assert flow["jobs"]["record"]["env"]["AZURE_BATCH_ACCOUNT"] == "render"
    assert {"id-token": "write", "contents": "read"} == flow["permissions"]


@pytest.mark.usefixtures("several")
def test_every_account_of_a_settings_file_is_recorded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The file goes along, and the names of its keys; no made-up account stands in for it."""
    texts = {kind: printed(capsys, kind, "--lake", "az://lake/fleet") for kind in KINDS}
    lines = linted(tmp_path / "Dockerfile", texts["dockerfile"])
    assert 'COPY --chmod=0644 ["nodelake.toml", "/etc/nodelake.toml"]' in lines
    assert "ENV NODELAKE_CONFIG=/etc/nodelake.toml" in lines
    job = yaml.safe_load(texts["github"])["jobs"]["record"]
    assert job["env"] == {
        "RENDER_KEY": "${{ secrets.RENDER_KEY }}",
        "AZURE_STORAGE_ACCOUNT": "STORAGE",
    }
    assert "snapshot --config nodelake.toml" in job["steps"][4]["run"]
    BicepParser().parse(text=texts["container-apps"])
    for kind in ("container-apps", "cron", "systemd"):
        assert "RENDER_KEY" in texts[kind]
    assert f"--config {tmp_path}/nodelake.toml" in texts["cron"]
    for text in texts.values():
        assert "https://ACCOUNT" not in text
        assert "AZURE_BATCH_ACCOUNT" not in text
    local = yaml.safe_load(printed(capsys, "github", "--lake", "/srv/lake"))["jobs"]["record"]
    assert local["env"] == {"RENDER_KEY": "${{ secrets.RENDER_KEY }}"}


def test_promtool_takes_the_rules(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The rules are valid, and fire after the time they say: tested on series that promtool makes."""
    promtool = program("promtool", "apt-get install prometheus")
    rules = tmp_path / "nodelake.rules.yml"
    rules.write_text(printed(capsys, "prometheus-alerts", "--lake", "/srv/lake"))
    tests = PROJECT / "tests" / "cli" / "alerts_test.yml"
    (tmp_path / "test.yml").write_text(tests.read_text())
    for arguments in (["check", "rules", "nodelake.rules.yml"], ["test", "rules", "test.yml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Each alert has a severity, a duration, and a runbook sentence with a nodelake command."""
    text = printed(capsys, "prometheus-alerts", "--lake", "/srv/lake")
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) == 8
    for alert in alerts:
        assert "severity: " in alert
        assert "for: " in alert
        assert "nodelake" in alert.partition("runbook: ")[2]
