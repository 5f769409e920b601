"""Archives of saved files: which moment each file is of, and what is refused with its name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.snapshot.archive import ArchiveError, by_manifest, by_name, files_of

NOON = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "nodes-20261121T120005Z.json",
        "2026-11-21T12:00:05Z.json",
        "p1_2026-11-21_12-00-05_page2.json",
        "2026-11-21 12.00.05/pool1.json",
        "2026/saved.20261121120005.json",
        "1795262405.json",
    ],
)
def test_the_time_is_found_in_the_name(name: str) -> None:
    """In the forms that people and tools write; UTC."""
    assert {NOON: [Path(name)]} == by_name([Path(name)])


@given(st.datetimes(datetime(2001, 1, 1), datetime(2098, 1, 1)), st.sampled_from("T_ /-"))
def test_any_time_comes_back(at: datetime, between: str) -> None:
    """Whatever the time: written with any separator it is read as it was."""
    at = at.replace(microsecond=0, tzinfo=UTC)
    name = Path(f"{at:%Y-%m-%d}{between}{at:%H%M%S}-page1.json")
    assert {at: [name]} == by_name([name])


def test_files_of_one_moment_are_together_and_moments_in_order() -> None:
    """Two pages of noon are one snapshot; the last time in a path counts."""
    names = [
        "2026-11-21/run-20261121T120005Z/b.json", "20261121T120005Z-a.json", "20261120T000000Z.json",
    ]  # fmt: skip
    found = by_name([Path(name) for name in names])
    assert [datetime(2026, 11, 20, tzinfo=UTC), NOON] == [*found]
    assert [Path(names[0]), Path(names[1])] == found[NOON]


@pytest.mark.parametrize("name", ["page1.json", "20261341T120000Z.json", "20261121.json"])
def test_a_name_without_a_time_is_named(name: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ArchiveError, match=name):
        by_name([Path(name)])


def test_a_directory_stands_for_its_json_files(tmp_path: Path) -> None:
    """Those below it too; other files are left alone; what is missing is named."""
    for name in ("a/1.json", "a/b/2.json", "a/readme.txt", "3.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = files_of([str(tmp_path / "a"), str(tmp_path / "3.json")])
    assert [tmp_path / name for name in ("3.json", "a/1.json", "a/b/2.json")] == found
    with pytest.raises(ArchiveError, match="none: no such file"):
        files_of([str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match=r"no \*\.json file"):
        files_of([str(tmp_path / "empty")])


def test_a_manifest_names_files_and_times(tmp_path: Path) -> None:
    """Files are relative to it; a time with a zone is brought to UTC."""
    (tmp_path / "p.json").touch()
    (tmp_path / "q.json").touch()
    manifest = tmp_path / "m.csv"
    manifest.write_text("time,file\n2026-11-21T13:00:05+01:00,p.json\n2026-11-21T12:00:05,q.json\n")
    assert {NOON: [tmp_path / "p.json", tmp_path / "q.json"]} == by_manifest(manifest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,when\n", "no columns file and time"),
        ("file,time\n", "names no file"),
        ("file,time\nnone.json,2026-11-21\n", "line 2: 'none.json' is not a file"),
        ("file,time\nm.csv,yesterday\n", "line 2: 'yesterday' is not an ISO 8601 time"),
    ],
)
def test_a_manifest_that_is_wrong_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Before anything is stored."""
    manifest = tmp_path / "m.csv"
    manifest.write_text(text)
    with pytest.raises(ArchiveError, match=said):
        by_manifest(manifest)
