"""Differences between api-versions that matter to the client."""

from __future__ import annotations

from pipeline.config import API_VERSIONS
from pipeline.extract.errors import ServiceError

#: From this version on some query parameters have other names: timeOut, startTime.
UNTIL_2025 = "2025-06-01"
#: The first version without /poolusagemetrics. Versions sort as text.
NO_USAGE_METRICS = "2026-10-01"

#: What the service says of a version that it no longer, or does not yet, know.
_REFUSALS = frozenset({"unsupportedrequestversion", "unsupportedapiversion"})


def is_refused(error: ServiceError) -> bool:
    """Whether the service refuses the api-version itself, not the request."""
    if error.status != 400:
        return False
    # The documented code; or the code of any invalid parameter, if its details name this one.
    is_parameter = error.code.lower() == "invalidqueryparametervalue"
    return error.code.lower() in _REFUSALS or (is_parameter and "api-version" in error.message)


def newer_than(version: str) -> str | None:
    """The next newer version that is known; None where there is none."""
    return next((known for known in API_VERSIONS if known > version), None)
