"""Fleet files: what they may say, and how a mistake in one is reported."""

from pathlib import Path

import msgspec
import pytest

from pipeline.emulator import Fleet, FleetConfig, FleetFileError, load_fleet_config
from pipeline.emulator.config import PoolConfig
from pipeline.emulator.fleet.plan import cores

FILES = sorted((Path(__file__).resolve().parents[2] / "data" / "fleets").glob("*.toml"))


def test_default_is_three_pools_of_some_300_nodes() -> None:
    """Without a file there are three pools, and some 300 nodes at the busiest hour."""
    config = load_fleet_config(None)
    assert 3 == len(config.pools)
    assert 280 <= config.node_count <= 360


def test_demo_file_is_the_default() -> None:
    """The demo fleet's file says what the program has built in: a start for one's own."""
    (demo,) = [file for file in FILES if file.name == "demo.toml"]
    assert load_fleet_config(None) == load_fleet_config(demo)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_example_files_load(file: Path) -> None:
    """Every example file is a fleet, and says in its first line what it is for."""
    config = load_fleet_config(file)
    assert config.pools
    assert file.read_text().startswith("# ")
    if config.node_count < 1000:
        assert [pool.id for pool in Fleet(config).pools()]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pools = [", "not TOML"),
        ("colour = 'red'", "top level: key 'colour': unknown key"),
        ("region = 7", "top level: key 'region': Expected `str`, got `int`"),
        ("region = 'East US'", "key 'region' takes lower-case letters"),
        ("pools = 3", "top level: key 'pools': Expected `array`"),
        ("[[pools]]\nsize = 3", "table [pools] number 1: key 'size': unknown key"),
        ("[[pools]]\ndedicated = 3", "table [pools] number 1: key 'id': required key is missing"),
        (
            "[[pools]]\nid = 'a'\n[[pools]]\nid = 'b'\ndedicated = 'many'",
            "table [pools] number 2: key 'dedicated': Expected `int`, got `str`",
        ),
        (
            "[[pools]]\nid = 'a'\n[pools.work]\ntask_minuts = 3",
            "table [pools.work] number 1: key 'task_minuts': unknown key",
        ),
        (
            "[[pools]]\nid = 'a'\n[pools.work]\nfailure_rate = 3.0",
            "table [pools.work] number 1: key 'failure_rate' is a share between 0 and 1",
        ),
        ("[[pools]]\nid = 'a'\ndedicated = -3", "key 'dedicated' must not be negative"),
        ("[[pools]]\nid = 'a b'", "key 'id' takes 1 to 64 letters"),
        ("[[pools]]\nid = 'a'\ntask_slots = 0", "key 'task_slots' must be 1 or more"),
        ("[[pools]]\nid = 'a'\nprofile = 'mac'", "key 'profile': Invalid enum value 'mac'"),
        ("[[pools]]\nid = 'a'\n[[pools]]\nid = 'A'", "two pools share the id 'a'"),
        (
            "[[pools]]\nid = 'a'\n[pools.autoscale]\nmin_spot = 3",
            "key 'autoscale': a minimum exceeds its maximum",
        ),
        (
            "[[pools]]\nid = 'a'\n[pools.autoscale]\ninterval_minutes = 1",
            "'autoscale.interval_minutes' must be 5 or more",
        ),
        (
            "[[pools]]\nid = 'a'\npreemption_wave_hours = [24.5]",
            "key 'preemption_wave_hours' takes hours of the day",
        ),
        (
            "[[pools]]\nid = 'a'\n[[pools.storms]]\nhours = 1.0",
            "key 'after_hours': required key is missing",
        ),
        ("[[faults]]\nkind = 'explode'", "table [faults] number 1: key 'kind': Invalid enum value"),
        ("[[faults]]\nkind = 'busy'\nrate = 2.0", "key 'rate' is a share between 0 and 1"),
        ("[[faults]]\nkind = 'mutate'", "key 'mutate' takes a callable"),
    ],
)
def test_mistakes_name_file_table_and_key(tmp_path: Path, text: str, told: str) -> None:
    """A mistake is one line: the file, the table, the key, and what is wrong."""
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    with pytest.raises(FleetFileError) as caught:
        load_fleet_config(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert told in message
    assert "\n" not in message
    assert "`$" not in message


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are reported as such."""
    with pytest.raises(FleetFileError, match="cannot be read"):
        load_fleet_config(tmp_path / "none.toml")
    with pytest.raises(FleetFileError, match="cannot be read"):
        load_fleet_config(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FleetFileError, match="not TOML"):
        load_fleet_config(tmp_path / "bytes.toml")


def test_every_key_can_be_said_in_a_file() -> None:
    """What a config holds, a file can say: it survives being written out and read."""
    config = load_fleet_config(None)
    document = msgspec.to_builtins(config)
    assert config == msgspec.convert(document, FleetConfig)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("standard_d8s_v5", 8),
        ("STANDARD_NC24ads_A100_v4", 24),
        ("standard_f16s_v2", 16),
        ("basic_a2", 2),
        ("small", 1),
    ],
)
def test_cores(size: str, expected: int) -> None:
    """Cores are read from a size's name; an old name without a number counts one."""
    assert expected == cores(size)


def test_seats_cover_every_target() -> None:
    """A pool has a seat for every node that any of its targets asks for."""
    document = {
        "id": "p",
        "dedicated": 5,
        "spot": 2,
        "autoscale": {"min_dedicated": 1, "max_dedicated": 9},
        "resizes": [{"after_hours": 1.0, "spot": 7}],
    }
    assert (9, 7) == msgspec.convert(document, PoolConfig).seats
