"""The REST client: pools, nodes, node counts and usage as checked pages of bytes.

Importing this package is cheap; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.extract.client import BatchClient
    from pipeline.extract.connection import Page
    from pipeline.extract.errors import (
        AuthFailed,
        BadResponse,
        Cancelled,
        DeadlineExceeded,
        ExtractError,
        ServiceError,
        TransportFailed,
        TurnOver,
        UntrustedLink,
    )
    from pipeline.extract.figures import Figures
    from pipeline.extract.listing import Pages

__all__ = [
    "AuthFailed",
    "BadResponse",
    "BatchClient",
    "Cancelled",
    "DeadlineExceeded",
    "ExtractError",
    "Figures",
    "Page",
    "Pages",
    "ServiceError",
    "TransportFailed",
    "TurnOver",
    "UntrustedLink",
]

_MODULES = {
    "BatchClient": "client",
    "Figures": "figures",
    "Page": "connection",
    "Pages": "listing",
    "Turn": "turns",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
