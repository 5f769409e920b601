"""A made-up Azure Batch service: a seeded fleet, and a thin HTTP face on it.

Importing this package is cheap; each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import FleetConfig, FleetFileError, load_fleet_config
    from .faults import Fault, Faults, read_fault
    from .fleet.fleet import Fleet
    from .http.emulator import Emulator
    from .truth import TruthLog

__all__ = [
    "Emulator",
    "Fault",
    "Faults",
    "Fleet",
    "FleetConfig",
    "FleetFileError",
    "TruthLog",
    "load_fleet_config",
    "read_fault",
]

_MODULES = {
    "Emulator": "http.emulator",
    "Fault": "faults",
    "Faults": "faults",
    "Fleet": "fleet.fleet",
    "FleetConfig": "config",
    "FleetFileError": "config",
    "TruthLog": "truth",
    "load_fleet_config": "config",
    "read_fault": "faults",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
