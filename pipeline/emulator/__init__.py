"""A made-up Azure Batch service: a seeded fleet, and a thin HTTP face on it.

Importing this package is cheap; each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import (
        Autoscale,
        FaultyNodes,
        FleetConfig,
        FormulaFailure,
        Image,
        PoolConfig,
        Rates,
        Resize,
        Shortage,
        StartTask,
        Storm,
        Work,
    )
    from .faults import Fault, Faults, read_fault
    from .fleet.fleet import Fleet
    from .fleet.fleet_file import FleetFileError, load_fleet_config
    from .fleet.planted import PLANTED_LOG_SECRETS, PLANTED_POOL_SECRETS
    from .http.emulator import Emulator
    from .http.versions import API_VERSIONS
    from .truth import (
        AutoscaleError,
        Boot,
        ErrorEpisode,
        Membership,
        PoolLife,
        Record,
        ResizeError,
        StartTaskRun,
        StateInterval,
        TaskRun,
        TruthLog,
    )

__all__ = [
    "API_VERSIONS",
    "PLANTED_LOG_SECRETS",
    "PLANTED_POOL_SECRETS",
    "Autoscale",
    "AutoscaleError",
    "Boot",
    "Emulator",
    "ErrorEpisode",
    "Fault",
    "Faults",
    "FaultyNodes",
    "Fleet",
    "FleetConfig",
    "FleetFileError",
    "FormulaFailure",
    "Image",
    "Membership",
    "PoolConfig",
    "PoolLife",
    "Rates",
    "Record",
    "Resize",
    "ResizeError",
    "Shortage",
    "StartTask",
    "StartTaskRun",
    "StateInterval",
    "Storm",
    "TaskRun",
    "TruthLog",
    "Work",
    "load_fleet_config",
    "read_fault",
]

_NAMES = {
    "config": "Autoscale FleetConfig FormulaFailure Image FaultyNodes PoolConfig Rates Resize "
    "Shortage StartTask Storm Work",
    "faults": "Fault Faults read_fault",
    "fleet.fleet": "Fleet",
    "fleet.planted": "PLANTED_LOG_SECRETS PLANTED_POOL_SECRETS",
    "fleet.fleet_file": "FleetFileError load_fleet_config",
    "http.emulator": "Emulator",
    "http.versions": "API_VERSIONS",
    "truth": "AutoscaleError Boot ErrorEpisode Membership PoolLife Record ResizeError "
    "StartTaskRun StateInterval TaskRun TruthLog",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
