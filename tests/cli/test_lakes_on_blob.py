"""A lake on Blob that is not there, and queries that may read a lake there only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline import cli
from pipeline.lake import Lake
from tests.azurite import Azurite
from tests.azurite import azurite as started
from tests.service import make_service


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """An Azurite of this module's own."""
    with started(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(autouse=True)
def settings(azurite: Azurite, nowhere: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that leads to it."""
    for name, value in azurite.settings.items():
        monkeypatch.setenv(name, value)


def test_a_container_without_a_lake_and_none_at_all(
    azurite: Azurite, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 for what reads; the reason is said."""
    azurite.make_container("empty")
    for words in (["status"], ["compact"], ["sql", "select 1"], ["check"], ["metrics"]):
        for uri, reason in (
            ("az://empty/lake", "no file of a lake lies there"),
            ("az://missing/lake", "there is no such container or account"),
        ):
            assert cli.run([*words, "--lake", uri]) == 2, capsys.readouterr().err
            assert f"no lake at {uri}: {reason}" in capsys.readouterr().err


def test_read_only_files(azurite: Azurite, capsys: pytest.CaptureFixture[str]) -> None:
    """The lake's blobs are read, no file of this machine."""
    azurite.make_container("full")
    make_service().run(Lake("az://full/lake"))
    asked = ["--read-only-files", "--lake", "az://full/lake", "--format", "csv"]
    assert cli.run(["sql", "select count(*) as n from nodes", *asked]) == 0
    assert capsys.readouterr().out == "n\n20\n"
    assert cli.run(["sql", "select * from read_text('/etc/passwd')", *asked]) == 1
    assert cli.run(["sql", "from read_parquet('az://other/x.parquet')", *asked]) == 1
