"""The fleet file: which pools there are, how big, and how often what goes wrong.

Every key has a default; ``load_fleet_config(None)`` is the demo fleet of three pools and some
300 nodes. A file is TOML: ``region``, ``[[pools]]`` with their sub-tables, ``[[faults]]``.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from .faults import Fault

ProfileName = Literal["render", "spot", "containers", "windows"]


class FleetFileError(ValueError):
    """A fleet file that cannot be used; the text names the file, the table and the key."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: keys it does not know are refused."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if value < 0:
                raise ValueError(f"key '{name}' must not be negative: {value}")
            if name.endswith(("_rate", "_share")) and value > 1:
                raise ValueError(f"key '{name}' is a share between 0 and 1: {value}")


class Autoscale(_Table, frozen=True):
    """``[pools.autoscale]``: targets follow the hour of the day between a minimum and maximum."""

    min_dedicated: int = 0
    max_dedicated: int = 0
    min_spot: int = 0
    max_spot: int = 0
    interval_minutes: float = 15.0
    peak_hour: float = 15.0


class Work(_Table, frozen=True):
    """``[pools.work]``: what the nodes do. Times are means of exponential distributions."""

    task_minutes: float = 14.0
    idle_minutes: float = 6.0
    failure_rate: float = 0.03
    retry_limit: int = 2
    slots_per_task: int = 1
    gang_every_hours: float = 0.0  # multi-instance tasks: 0 for none
    gang_size: int = 0
    gang_minutes: float = 20.0


class StartTask(_Table, frozen=True):
    """``[pools.start_task]``: how the start task runs and fails; ``changes_after_hours`` are
    the hours after the fleet's start at which somebody changes its definition."""

    is_present: bool = True
    seconds: float = 45.0
    retry_limit: int = 2
    failure_rate: float = 0.03
    wait_for_success: bool = True
    changes_after_hours: tuple[float, ...] = ()
    sas_renewal_hours: float = 24.0


class Rates(_Table, frozen=True):
    """``[pools.rates]``: how often a thing happens to a node, in times per node and day."""

    reboots: float = 0.05
    reimages: float = 0.03
    unusable: float = 0.04
    unknown: float = 0.06
    offline: float = 0.03
    preemptions: float = 0.0
    os_upgrades: float = 0.02
    deallocations: float = 0.02
    errors: float = 0.04
    agent_upgrades: float = 0.10


class OddNodes(_Table, frozen=True):
    """``[pools.odd_nodes]``: how many nodes of a pool misbehave all their life.

    A black hole fails every task at once and so attracts more; a flapping node becomes unusable
    and heals again and again; a stuck one waits for its start task for ever.
    """

    black_hole: int = 0
    flapping: int = 0
    stuck: int = 0


class Storm(_Table, frozen=True):
    """``[[pools.storms]]``: a time in which start tasks fail; a share of nodes reboot into it."""

    after_hours: float
    hours: float = 1.0
    failure_rate: float = 0.8
    reboot_share: float = 0.3


class Resize(_Table, frozen=True):
    """``[[pools.resizes]]``: somebody resizes the pool by hand, hours after the fleet's start."""

    after_hours: float
    dedicated: int | None = None
    spot: int | None = None


class PoolConfig(_Table, frozen=True):
    """``[[pools]]``: one pool. Hours count from the fleet's start."""

    id: str
    profile: ProfileName = "render"
    vm_size: str = "standard_d8s_v5"
    dedicated: int = 0
    spot: int = 0
    spot_capacity: int | None = None  # more spot nodes than this are not to be had
    task_slots: int = 1
    autoscale: Autoscale | None = None
    work: Work = Work()
    start_task: StartTask = StartTask()
    rates: Rates = Rates()
    odd_nodes: OddNodes = OddNodes()
    storms: tuple[Storm, ...] = ()
    resizes: tuple[Resize, ...] = ()
    removals_per_day: float = 2.0  # nodes taken out one by one, each replaced
    id_reuse_rate: float = 0.5  # how often a new node gets the id of the one before
    preemption_wave_hours: tuple[float, ...] = ()  # hours of the day
    preemption_wave_share: float = 0.3
    agent_releases_after_hours: tuple[float, ...] = ()
    image_releases_after_hours: tuple[float, ...] = ()
    create_after_hours: float = 0.0
    delete_after_hours: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.id):
            raise ValueError(
                f"key 'id' takes 1 to 64 letters, digits, hyphens and underscores: {self.id!r}"
            )
        if self.task_slots < 1:
            raise ValueError(f"key 'task_slots' must be 1 or more: {self.task_slots}")
        if any(not 0 <= hour < 24 for hour in self.preemption_wave_hours):
            raise ValueError("key 'preemption_wave_hours' takes hours of the day, 0 to below 24")
        for scale in filter(None, (self.autoscale,)):
            if scale.interval_minutes < 5:  # the service's own minimum
                raise ValueError("key 'autoscale.interval_minutes' must be 5 or more")
            if scale.min_dedicated > scale.max_dedicated or scale.min_spot > scale.max_spot:
                raise ValueError("key 'autoscale': a minimum is above its maximum")

    @property
    def seats(self) -> tuple[int, int]:
        """The most (dedicated, spot) nodes that the pool will ever ask for."""
        dedicated = [self.dedicated, *(r.dedicated or 0 for r in self.resizes)]
        spot = [self.spot, *(r.spot or 0 for r in self.resizes)]
        if self.autoscale is not None:
            dedicated.append(self.autoscale.max_dedicated)
            spot.append(self.autoscale.max_spot)
        return max(dedicated), max(spot)


def _demo_pools() -> tuple[PoolConfig, ...]:
    return (
        PoolConfig(
            id="render",
            profile="render",
            vm_size="standard_d8s_v5",
            dedicated=96,
            autoscale=Autoscale(min_dedicated=70, max_dedicated=132),
            start_task=StartTask(seconds=50.0, failure_rate=0.06, changes_after_hours=(15.0,)),
            odd_nodes=OddNodes(black_hole=1, flapping=1, stuck=1),
            storms=(Storm(after_hours=9.0, hours=1.5, failure_rate=0.7, reboot_share=0.15),),
            agent_releases_after_hours=(5.0,),
            image_releases_after_hours=(8.0,),
            removals_per_day=6.0,
        ),
        PoolConfig(
            id="simulation-spot",
            profile="spot",
            vm_size="standard_f16s_v2",
            dedicated=8,
            spot=112,
            task_slots=2,
            work=Work(task_minutes=22.0, gang_every_hours=6.0, gang_size=6),
            rates=Rates(preemptions=0.6),
            odd_nodes=OddNodes(flapping=1),
            preemption_wave_hours=(3.5, 13.25),
            preemption_wave_share=0.25,
            agent_releases_after_hours=(11.0,),
        ),
        PoolConfig(
            id="training-containers",
            profile="containers",
            vm_size="standard_nc24ads_a100_v4",
            dedicated=72,
            work=Work(task_minutes=35.0, idle_minutes=20.0, failure_rate=0.05),
            start_task=StartTask(seconds=150.0, failure_rate=0.25, retry_limit=1),
            rates=Rates(
                reboots=0.15, unusable=0.10, errors=0.10, os_upgrades=0.10, deallocations=0.15
            ),
            odd_nodes=OddNodes(black_hole=1),
            resizes=(Resize(after_hours=10.0, dedicated=84),),
        ),
    )


class FleetConfig(_Table, frozen=True):
    """A whole fleet file."""

    region: str = "eastus"
    pools: tuple[PoolConfig, ...] = msgspec.field(default_factory=_demo_pools)
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[a-z0-9]+", self.region):
            raise ValueError(f"key 'region' takes lower-case letters and digits: {self.region!r}")
        ids = [pool.id.lower() for pool in self.pools]
        for pool_id in ids:
            if ids.count(pool_id) > 1:  # the service compares pool ids without case
                raise ValueError(f"key 'pools': two pools share the id {pool_id!r}")

    @property
    def node_count(self) -> int:
        """The most nodes that the fleet can hold at once."""
        return sum(sum(pool.seats) for pool in self.pools)


def load_fleet_config(path: str | Path | None = None) -> FleetConfig:
    """Read a fleet file; None gives the demo fleet.

    Raises ``FleetFileError`` for a file that cannot be read, is not TOML, or holds an unknown
    key, a wrong type or an impossible value; its text names the file, the table and the key.
    """
    if path is None:
        return FleetConfig()
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FleetFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FleetFileError(f"{path}: not TOML: {error}") from error
    return parse_fleet_config(document, str(path))


def parse_fleet_config(document: dict[str, Any], name: str) -> FleetConfig:
    """Turn a decoded fleet file into a config; ``name`` is the file's, for errors."""
    try:
        return msgspec.convert(document, FleetConfig)
    except msgspec.ValidationError as error:
        raise FleetFileError(f"{name}: {_in_words(str(error))}") from error


def _in_words(message: str) -> str:
    """Turn msgspec's ``… - at `$.pools[0].work` `` into table and key."""
    problem, _, place = message.partition(" - at `$")
    steps = re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", place)
    table = ""
    number = ""
    names: list[str] = []
    for step, index in steps:
        if step:
            names.append(step)
        elif len(names) == 1:
            number = f" number {int(index) + 1}"
    unknown = re.search(r"unknown field `([^`]+)`", problem)
    missing = re.search(r"missing required field `([^`]+)`", problem)
    key = ""
    if unknown or missing:
        key = (unknown or missing).group(1)  # type: ignore[union-attr]
        problem = "unknown key" if unknown else "required key is missing"
    elif problem.startswith("key '"):
        key = ""
    elif names and not place.rstrip("`").endswith("]"):
        key = names.pop()
    elif names:
        key = names.pop() if len(names) > 1 else ""
    table = f"table [{'.'.join(names)}]{number}" if names else "top level"
    return f"{table}: key '{key}': {problem}" if key else f"{table}: {problem}"
