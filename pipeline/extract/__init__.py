"""The REST client: pools, nodes, one node, node counts and usage, as bytes of checked pages.

Importing this package is cheap; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.extract.client import BatchClient
    from pipeline.extract.connection import Figures, Page
    from pipeline.extract.errors import (
        AuthFailed,
        BadResponse,
        Cancelled,
        DeadlineExceeded,
        ExtractError,
        ServiceError,
        TransportFailed,
        UntrustedLink,
    )

__all__ = [
    "AuthFailed",
    "BadResponse",
    "BatchClient",
    "Cancelled",
    "DeadlineExceeded",
    "ExtractError",
    "Figures",
    "Page",
    "ServiceError",
    "TransportFailed",
    "UntrustedLink",
]

_MODULES = {"BatchClient": "client", "Figures": "connection", "Page": "connection"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
