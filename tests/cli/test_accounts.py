"""Several accounts in one command: one that cannot be recorded never stops the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.emulator import Emulator, Fleet
from pipeline.lake import Lake
from tests.service import START, rows, small_fleet

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A served account; its key is in GOOD_KEY."""
    with Emulator(Fleet(small_fleet(), seed=3, start=START)).serve() as server:
        monkeypatch.setenv("GOOD_KEY", server.settings["AZURE_BATCH_ACCESS_KEY"])
        yield server.endpoint


def entry(label: str, endpoint: str, key_env: str | None) -> str:
    """An account of the settings file."""
    key = f'key_env = "{key_env}"\n' if key_env else ""
    return (
        f'[[accounts]]\nendpoint = "{endpoint}"\nname = "emulated"\nlabel = "{label}"\n{key}'
        "limits = { attempts = 1 }\n"
    )


@pytest.mark.parametrize(
    ("bad", "code", "words"),
    [
        (("http://127.0.0.1:1", "NOT_SET"), "ConfigError", "variable NOT_SET is not set"),
        (("http://127.0.0.1:1", "BAD_KEY"), "ConfigError", "BAD_KEY is not a key in base64"),
        (("https://evil.example", "GOOD_KEY"), "ConfigError", "evil.example"),
    ],
)
def test_it_gets_a_failed_row(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    bad: tuple[str, str],
    code: str,
    words: str,
) -> None:
    """The reason is in its row; the others are stored; exit 3. In whatever order they stand."""
    monkeypatch.setenv("BAD_KEY", "hunter2!")
    good = entry("good", endpoint, "GOOD_KEY")
    for number, text in enumerate((entry("bad", *bad) + good, good + entry("bad", *bad))):
        Path("nodelake.toml").write_text(text)
        lake = f"lake-{number}"
        assert cli.run(["snapshot", "--lake", lake]) == 3
        err = capsys.readouterr().err
        assert words in err
        assert "hunter2" not in err
        found = rows(Lake(lake), "select account, status, error_code, error_message from snapshots")
        told = {row.pop("account"): row for row in found}
        assert told["good"]["status"] == "complete"
        assert (told["bad"]["status"], told["bad"]["error_code"]) == ("failed", code)
        assert words in told["bad"]["error_message"]


def test_none_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, a row each; a dry run leaves none; one account alone is wrong configuration."""
    text = entry("a", "http://127.0.0.1:1", "A_KEY") + entry("b", "http://127.0.0.1:1", "B_KEY")
    Path("nodelake.toml").write_text(text)
    assert cli.run(["snapshot", "--dry-run"]) == 1
    assert not Path("data").exists()
    assert cli.run(["snapshot"]) == 1
    assert len(rows(Lake("data/lake"), "from snapshots where status = 'failed'")) == 2
    capsys.readouterr()
    assert cli.run(["snapshot", "--account", "a", "--lake", "other"]) == 2
    assert "A_KEY is not set" in capsys.readouterr().err
    assert not Path("other").exists()


def test_one_that_is_locked(endpoint: str) -> None:
    """A run of the account that holds its lock is not disturbed: 4 for it, no row."""
    Path("nodelake.toml").write_text(
        entry("good", endpoint, "GOOD_KEY") + entry("bad", "http://127.0.0.1:1", "NOT_SET")
    )
    with Lake("data/lake").lock("snapshot", "bad"):
        assert cli.run(["snapshot"]) == 3
    assert {row["account"] for row in rows(Lake("data/lake"), "from snapshots")} == {"good"}


def test_usage_of_several(capsys: pytest.CaptureFixture[str], endpoint: str) -> None:
    """The same, of core-hours."""
    Path("nodelake.toml").write_text(
        entry("bad", "http://127.0.0.1:1", "NOT_SET") + entry("good", endpoint, "GOOD_KEY")
    )
    code = cli.run(["usage", "--from", "2026-11-20", "--to", "2026-11-21"])
    assert code in (1, 3)  # 1 where the emulated account has no core-hours yet
    found = rows(Lake("data/lake"), "select account, status, source, error_message from snapshots")
    told = {row["account"]: row for row in found}
    assert {"bad", "good"} == {*told}
    assert {row["source"] for row in found} == {"usage"}
    assert "NOT_SET" in told["bad"]["error_message"]
    assert [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_host_that_a_flag_or_the_environment_allows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is asked, and cannot be found; without, nothing is sent."""
    monkeypatch.setenv("GOOD_KEY", "c2VjcmV0")
    Path("nodelake.toml").write_text(entry("a", "https://batch.invalid", "GOOD_KEY"))
    assert cli.run(["snapshot"]) == 2
    assert "--allow-host batch.invalid" in capsys.readouterr().err
    assert cli.run(["snapshot", "--allow-host", "batch.invalid"]) == 1
    monkeypatch.setenv("NODELAKE_ALLOWED_HOSTS", "other.invalid, BATCH.invalid")
    assert cli.run(["snapshot"]) == 1
    assert cli.run(["node", "p", "n", "--live"]) == 1
    monkeypatch.delenv("NODELAKE_ALLOWED_HOSTS")
    assert cli.run(["node", "p", "n", "--live"]) == 2
