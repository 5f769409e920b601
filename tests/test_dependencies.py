"""The pinned releases: all that ``pyproject.toml`` names is in them, and nothing of the machine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.conftest import PROJECT

NEWEST = PROJECT / ".ci" / "constraints.txt"
LOWEST = PROJECT / ".ci" / "lowest.txt"
_PYPROJECT = (PROJECT / "pyproject.toml").read_text()
_DECLARED = tomllib.loads(_PYPROJECT)

#: What ``pyproject.toml`` asks for: the build backend, the package, every extra.
DIRECT = [
    requirement
    for text in (
        *_DECLARED["build-system"]["requires"],
        *_DECLARED["project"]["dependencies"],
        *(
            each
            for extra in _DECLARED["project"]["optional-dependencies"].values()
            for each in extra
        ),
    )
    if (requirement := Requirement(text)).name != "nodelake"
]


def pins(path: Path) -> dict[str, list[str]]:
    """The versions that a file pins, by package; several where Python versions differ."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            found.setdefault(requirement.name.lower(), []).append(pin.version)
    return found


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_dependency_is_pinned(requirement: Requirement) -> None:
    """CI installs a release that is named in the repository, and that ``pyproject.toml`` allows."""
    versions = pins(NEWEST)[requirement.name]
    assert [each for each in versions if each not in requirement.specifier] == []


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_the_lowest_release_is_the_one_that_is_allowed(requirement: Requirement) -> None:
    """Who lowers or raises a bound runs ``.ci/pin``, so that CI tries that very release."""
    (bound,) = requirement.specifier
    assert bound.operator in (">=", "==")
    assert [Version(each) for each in pins(LOWEST)[requirement.name]] == [Version(bound.version)]


@pytest.mark.parametrize("path", [NEWEST, LOWEST], ids=lambda path: path.name)
def test_pins_name_packages_and_versions_only(path: Path) -> None:
    """No index, no URL, no folder of the machine that wrote them."""
    for line in path.read_text().splitlines():
        assert re.fullmatch(r"#.*|[a-z0-9-]+==[\w.+!]+( ; [\w '.!=<>()-]+)?", line), line
        assert "://" not in line
        assert "/" not in line.replace(".ci/pin", "")


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_dependency_says_what_it_is_for(requirement: Requirement) -> None:
    """Each has a line of its own, with a comment."""
    lines = [line for line in _PYPROJECT.splitlines() if f'"{requirement}"' in _plain(line)]
    assert len(lines) == 1
    assert requirement.name == "hatchling" or re.search(r'",?\]? +# .{5}', lines[0]), lines


def _plain(line: str) -> str:
    """A line with its requirement as ``packaging`` writes it: extras sorted, no blanks."""
    return re.sub(r'"([^"]+)"', lambda found: f'"{_written(found[1])}"', line)


def _written(text: str) -> str:
    try:
        return str(Requirement(text))
    except ValueError:
        return text
