"""The emulator's README: its tables are complete, and its examples work."""

import json
import re
import shlex
from pathlib import Path

import httpx
import msgspec
import pytest

import pipeline.emulator as room
from pipeline.emulator import API_VERSIONS, Emulator, Fleet, FleetConfig, TruthLog, config, truth
from pipeline.emulator.faults import KINDS, Fault
from pipeline.emulator.http.admin import _PATHS
from pipeline.emulator.http.files import _REFUSALS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "pipeline" / "emulator" / "README.md").read_text()


def section(heading: str) -> str:
    """The text of a section."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The example lines of a program, split as a shell would."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(program)]


TABLES = {
    "(top)": FleetConfig,
    "[[pools]]": config.PoolConfig,
    "[pools.autoscale]": config.Autoscale,
    "[[pools.autoscale.failures]]": config.FormulaFailure,
    "[pools.work]": config.Work,
    "[pools.start_task]": config.StartTask,
    "[pools.rates]": config.Rates,
    "[pools.faulty_nodes]": config.FaultyNodes,
    "[[pools.storms]]": config.Storm,
    "[[pools.resizes]]": config.Resize,
    "[[pools.shortages]]": config.Shortage,
    "[[images]]": config.Image,
    "[[faults]]": Fault,
}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_the_fleet_file_is_listed(table: str) -> None:
    """Each table's row names its keys, all of them and no other; sub-tables have their own row."""
    rows = re.findall(r"^\| `?([\[(].*?)`? \| (.*) \|$", section("The fleet file"), re.MULTILINE)
    assert set(TABLES) == {name for name, _ in rows}
    named = set(re.findall(r"`(\w+)`", dict(rows)[table]))
    keys = {
        field.encode_name
        for field in msgspec.structs.fields(TABLES[table])
        if not re.search(r"config\.(?!ProfileName)\w+|Fault", str(field.type))
    }
    if table == "[[faults]]":  # the kinds' own parameters stand with the kinds
        text = section("Faults")
        assert all(f"`{key}`" in text or key in ("kind",) for key in keys - {"mutate"})
        keys &= named
    assert keys == named


def test_every_class_of_the_fleet_file_has_a_row() -> None:
    """A new table of the fleet file gets a row."""
    classes = {
        value
        for value in vars(config).values()
        if isinstance(value, type)
        and issubclass(value, config._Table)
        and value is not config._Table
    }
    assert classes == set(TABLES.values()) - {Fault}


def test_every_fault_kind_is_listed() -> None:
    """Every kind is in one of the tables, and nothing else is."""
    rows = re.findall(r"^\| (`[a-z0-9_` ]+`) \| .* \|$", section("Faults"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(KINDS) == sorted(named)


def test_every_record_is_listed() -> None:
    """Every record of the truth log is listed with the property that gives it."""
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", section("The truth log"), re.MULTILINE)
    records = {
        name
        for name, value in vars(truth).items()
        if isinstance(value, type) and issubclass(value, truth.Record) and value is not truth.Record
    }
    assert records == {name for name, _ in rows}
    for name, member in rows:
        assert member == f"of({name})" or isinstance(getattr(TruthLog, member), property)
        assert name in room.__all__


def test_versions_and_refusals_are_listed() -> None:
    """The versions served and the codes of file requests are those of the program."""
    text = section("API versions")
    assert list(API_VERSIONS) == re.findall(r"20\d\d-\d\d-\d\d(?:\.\d+\.\d+)?", text)
    for code in _REFUSALS.values():
        assert f"`{code}`" in section("Files on nodes")


def test_contents() -> None:
    """The list of contents names every section."""
    headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
    listed = re.findall(r"^- \[(.*?)\]\(#(.*?)\)$", README, re.MULTILINE)
    assert headings == [name for name, _ in listed]
    assert all(anchor == name.lower().replace(" ", "-") for name, anchor in listed)


def test_every_file_that_is_named_is_there() -> None:
    """Fleet files and modules exist, and every fleet file is named."""
    for name in re.findall(r"`(?:data/fleets/)?(\w+\.toml)`", README):
        assert (ROOT / "data" / "fleets" / name).exists()
    for file in (ROOT / "data" / "fleets").glob("*.toml"):
        assert file.name in README
    for name in re.findall(r"`((?:\w+/)?\w+(?:\.py|/))`", section("Where things are")):
        assert (ROOT / "pipeline" / "emulator" / name).exists()


@pytest.mark.parametrize("line", commands("nodelake emulate"), ids=" ".join)
def test_emulate_takes_the_flags_that_are_shown(line: list[str]) -> None:
    """Every example is a command line that the program takes, and its fleet file loads."""
    from pipeline import cli

    # With its group's settings: click keeps the help option of a command's first call.
    command = cli.nodelake.commands["emulate"]
    context = command.make_context("emulate", line[2:], **cli.nodelake.context_settings)
    if context.params["fleet"]:
        room.load_fleet_config(ROOT / context.params["fleet"])
    for fault in context.params["faults"]:
        room.read_fault(fault)
    assert set(context.params["refused_versions"]) <= set(API_VERSIONS)


def test_the_python_example_runs() -> None:
    """It runs unchanged, and the fault it orders is met."""
    (example,) = blocks("python")
    names: dict[str, object] = {}
    exec(example, names)
    http = names["http"]
    assert isinstance(http, httpx.Client)
    with http:
        assert 401 == http.get("/pools", params={"api-version": API_VERSIONS[1]}).status_code


def test_every_curl_line_works() -> None:
    """Each does what it says against a served emulator; between them they use every path."""
    used = set()
    with Emulator(Fleet()).serve() as server:
        for line in commands("curl"):
            method, body, headers = "GET", None, {}
            rest = iter(line[1:])
            for word in rest:
                match word:
                    case "-X":
                        method = next(rest)
                    case "-d":
                        body, method = next(rest), "POST"
                        json.loads(body)
                    case "-H":
                        name, _, value = next(rest).partition(": ")
                        headers[name] = value
                    case url:
                        path = url.removeprefix("localhost:8080")
            reply = httpx.request(
                method, server.endpoint + path, content=body, headers=headers, timeout=30
            )
            assert reply.is_success, (line, reply.text)
            used.add(path.removeprefix("/_emulator").strip("/"))
    assert set(_PATHS) == used
