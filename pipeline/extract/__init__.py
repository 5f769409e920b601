"""The REST client: pools, nodes, one node, node counts and usage, as bytes of checked pages.

The only room that speaks HTTP. What it hands out is whole: a body that is cut short, malformed,
too large or an error in disguise is retried and then raised, never taken for an empty page.
"""

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
