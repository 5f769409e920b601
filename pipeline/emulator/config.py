"""The tables of a fleet file: pools, their sizes, and how often each kind of trouble occurs.

Every key has a default; the tables are listed in the README beside this module.
"""

import re
from datetime import date
from typing import Literal

import msgspec

from .faults import Fault

ProfileName = Literal["render", "spot", "containers", "windows"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; an unknown key is an error."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if value < 0:
                raise ValueError(f"key '{name}' must not be negative: {value}")
            if name.endswith(("_rate", "_share")) and value > 1:
                raise ValueError(f"key '{name}' is a share between 0 and 1: {value}")


class FormulaFailure(_Table, frozen=True):
    """``[[pools.autoscale.failures]]``: a period in which every evaluation of the formula fails.

    Targets do not change during it.
    """

    after_hours: float
    hours: float = 1.0
    code: str = "InsufficientSampleData"


class Autoscale(_Table, frozen=True):
    """``[pools.autoscale]``: targets follow the hour of the day between a minimum and maximum."""

    min_dedicated: int = 0
    max_dedicated: int = 0
    min_spot: int = 0
    max_spot: int = 0
    interval_minutes: float = 15.0
    peak_hour: float = 15.0
    error_rate: float = 0.03  # share of evaluations that fail because samples are missing
    failures: tuple[FormulaFailure, ...] = ()


class Work(_Table, frozen=True):
    """``[pools.work]``: what the nodes do. Times are means of exponential distributions."""

    task_minutes: float = 14.0
    idle_minutes: float = 6.0
    failure_rate: float = 0.03
    retry_limit: int = 2
    slots_per_task: int = 1
    jobs: int = 1  # how many jobs a pool works on at a time; their tasks share its nodes
    gang_every_hours: float = 0.0  # multi-instance tasks: 0 for none
    gang_size: int = 0
    gang_minutes: float = 20.0


class StartTask(_Table, frozen=True):
    """``[pools.start_task]``: how the start task runs and fails; ``changes_after_hours`` are
    the hours after the fleet's start at which its definition changes."""

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


class FaultyNodes(_Table, frozen=True):
    """``[pools.faulty_nodes]``: how many nodes of a pool misbehave all their life.

    A black-hole node fails every task at once and so attracts more; a flapping node becomes
    unusable and recovers again and again; the start task of a stuck node never ends.
    """

    black_hole: int = 0
    flapping: int = 0
    stuck: int = 0


class Storm(_Table, frozen=True):
    """``[[pools.storms]]``: a period in which start tasks fail; some nodes reboot when it begins."""

    after_hours: float
    hours: float = 1.0
    failure_rate: float = 0.8
    reboot_share: float = 0.3


class Resize(_Table, frozen=True):
    """``[[pools.resizes]]``: a manual resize, some hours after the fleet's start."""

    after_hours: float
    dedicated: int | None = None
    spot: int | None = None


class Shortage(_Table, frozen=True):
    """``[[pools.shortages]]``: a period in which the number of nodes is limited.

    A resize that wants more ends with a resize error of this code. Afterwards the pool is
    resized to its targets again.
    """

    after_hours: float
    hours: float = 3.0
    dedicated: int | None = None  # None: no limit
    spot: int | None = None
    code: str = "AccountCoreQuotaReached"


class Image(_Table, frozen=True):
    """``[[images]]``: a marketplace image as ``/supportedimages`` lists it.

    It joins the built-in list, or replaces the entry with the same image and node agent.
    """

    publisher: str
    offer: str
    sku: str
    node_agent_sku_id: str
    os_type: Literal["linux", "windows"] = "linux"
    is_verified: bool = True
    capabilities: tuple[str, ...] = ()
    ends_after_days: float | None = None  # end of Batch support, days after the fleet's start
    ends_at: str | None = None  # the same as a date, YYYY-MM-DD

    @property
    def name(self) -> str:
        """Return "publisher/offer/sku", as ``[[pools]]`` names an image."""
        return f"{self.publisher}/{self.offer}/{self.sku}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ends_at is not None:
            if self.ends_after_days is not None:
                raise ValueError("keys 'ends_at' and 'ends_after_days' exclude each other")
            try:
                date.fromisoformat(self.ends_at)
            except ValueError:
                raise ValueError(
                    f"key 'ends_at' takes a date, YYYY-MM-DD: {self.ends_at!r}"
                ) from None


class PoolConfig(_Table, frozen=True):
    """``[[pools]]``: one pool. Hours count from the fleet's start."""

    id: str
    profile: ProfileName = "render"
    vm_size: str = "standard_d8s_v5"
    vm_size_mix: tuple[str, ...] = ()  # up to five sizes, best first: each node gets one of them
    image: str | None = None  # "publisher/offer/sku" of a marketplace image; None: the profile's
    dedicated: int = 0
    spot: int = 0
    spot_capacity: int | None = None  # the most spot nodes that can be allocated
    task_slots: int = 1
    autoscale: Autoscale | None = None
    work: Work = Work()
    start_task: StartTask = StartTask()
    rates: Rates = Rates()
    faulty_nodes: FaultyNodes = FaultyNodes()
    storms: tuple[Storm, ...] = ()
    resizes: tuple[Resize, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    removals_per_day: float = 2.0  # nodes removed one by one, each replaced
    id_reuse_rate: float = 0.5  # share of new nodes that reuse the id of their predecessor
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
        if self.work.jobs < 1:
            raise ValueError(f"key 'work.jobs' must be 1 or more: {self.work.jobs}")
        if len(self.vm_size_mix) > 5:
            raise ValueError("key 'vm_size_mix' takes five sizes at most")
        if self.image is not None and self.image.count("/") != 2:
            raise ValueError(f"key 'image' takes publisher/offer/sku: {self.image!r}")
        if any(not 0 <= hour < 24 for hour in self.preemption_wave_hours):
            raise ValueError("key 'preemption_wave_hours' takes hours of the day, 0 to below 24")
        for scale in filter(None, (self.autoscale,)):
            if scale.interval_minutes < 5:  # the service's own minimum
                raise ValueError("key 'autoscale.interval_minutes' must be 5 or more")
            if scale.min_dedicated > scale.max_dedicated or scale.min_spot > scale.max_spot:
                raise ValueError("key 'autoscale': a minimum exceeds its maximum")

    @property
    def seats(self) -> tuple[int, int]:
        """The most (dedicated, spot) nodes that the pool ever asks for."""
        dedicated = [self.dedicated, *(r.dedicated or 0 for r in self.resizes)]
        spot = [self.spot, *(r.spot or 0 for r in self.resizes)]
        if self.autoscale is not None:
            dedicated.append(self.autoscale.max_dedicated)
            spot.append(self.autoscale.max_spot)
        return max(dedicated), max(spot)


class FleetConfig(_Table, frozen=True):
    """The whole fleet file."""

    region: str = "eastus"
    refused_versions: tuple[str, ...] = ()  # api-versions that the service no longer supports
    images: tuple[Image, ...] = ()
    pools: tuple[PoolConfig, ...] = ()
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
