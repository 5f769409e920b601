"""The supported api-versions, and how their documents differ.

Documents are made with the members of every version; ``for_version`` removes those that a version
lacks, by the published OpenAPI files.
"""

import re
from functools import cache
from typing import Any

from .replies import BatchError, bad_parameter

Json = dict[str, Any]

API_VERSIONS = ("2024-02-01.19.0", "2024-07-01.20.0", "2025-06-01", "2026-10-01")

_2024_07, _2025, _2026 = API_VERSIONS[1:]

#: (document, path): the first version that has the member. Versions sort as text.
_SINCE = {
    ("counts", "dedicated.deallocated"): _2024_07,
    ("counts", "dedicated.deallocating"): _2024_07,
    ("counts", "lowPriority.deallocated"): _2024_07,
    ("counts", "lowPriority.deallocating"): _2024_07,
    ("node", "ipv6Address"): _2025,
    ("node", "publicIPAddress"): _2026,
    ("node", "publicIPv6Address"): _2026,
    ("pool", "networkConfiguration.publicIPAddressConfiguration.ipFamilies"): _2025,
    ("pool", "networkConfiguration.publicIPAddressConfiguration.ipTags"): _2025,
    ("pool", "taskSchedulingPolicy.jobDefaultOrder"): _2025,
    ("pool", "virtualMachineConfiguration.dataDisks.managedDisk"): _2025,
    ("pool", "virtualMachineConfiguration.diskEncryptionConfiguration.customerManagedKey"): _2025,
    ("pool", "virtualMachineConfiguration.osDisk.managedDisk.diskEncryptionSet"): _2025,
    ("pool", "virtualMachineConfiguration.securityProfile.proxyAgentSettings"): _2025,
    ("pool", "virtualMachineConfiguration.hardwareProfile"): _2026,
    ("pool", "virtualMachineConfiguration.placement"): _2026,
    ("pool", "virtualMachineConfiguration.resiliencyPolicy"): _2026,
    ("pool", "vmSkuProfile"): _2026,
}
#: (document, path): the first version without the member.
_UNTIL = {
    ("node", "certificateReferences"): _2025,
    ("pool", "certificateReferences"): _2025,
    ("pool", "currentNodeCommunicationMode"): _2025,
    ("pool", "targetNodeCommunicationMode"): _2025,
    ("pool", "resourceTags"): _2025,
    ("pool", "virtualMachineConfiguration.dataDisks.storageAccountType"): _2025,
    ("pool", "stats.usageStats"): _2026,
}
#: (document, path): the first version that writes this 64-bit integer as text.
_TEXT_SINCE = {
    ("file", "properties.contentLength"): _2025,
    ("pool", "stats.resourceStats.diskReadIOps"): _2025,
    ("pool", "stats.resourceStats.diskWriteIOps"): _2025,
}
#: Route → the first version without the operation.
_ROUTES_UNTIL = {"poolusagemetrics": _2026}

_DROP, _TEXT = "drop", "text"
_Rules = dict[str, Any]  # a member's name → what to do with it, or the rules inside it


@cache
def _rules(document: str, version: str) -> _Rules:
    rules: _Rules = {}
    wanted = [(path, _DROP) for (kind, path), since in _SINCE.items()
              if kind == document and version < since]  # fmt: skip
    wanted += [(path, _DROP) for (kind, path), until in _UNTIL.items()
               if kind == document and version >= until]  # fmt: skip
    wanted += [(path, _TEXT) for (kind, path), since in _TEXT_SINCE.items()
               if kind == document and version >= since]  # fmt: skip
    for path, what in wanted:
        *outer, name = path.split(".")
        place = rules
        for step in outer:
            place = place.setdefault(step, {})
        place[name] = what
    return rules


def for_version(document: str, item: Json, version: str) -> Json:
    """Return a copy of a document ("pool", "node", "counts", "file") in the shape of a version."""
    found: Json = _apply(_rules(document, version), item)
    return found


def _apply(rules: _Rules, value: Any) -> Any:
    if isinstance(value, list):
        return [_apply(rules, part) for part in value]
    if not isinstance(value, dict):
        return value
    out: Json = {}
    for name, member in value.items():
        rule = rules.get(name)
        if rule == _DROP:
            continue
        if rule == _TEXT:
            out[name] = str(member)
        else:
            out[name] = member if rule is None else _apply(rule, member)
    return out


@cache
def names_for(document: str, names: frozenset[str], version: str) -> frozenset[str]:
    """Return the members of a document in a version: the names that ``$select`` takes."""
    rules = _rules(document, version)
    return frozenset(name for name in names if rules.get(name) != _DROP)


def check_version(version: str | None, refused: frozenset[str]) -> str:
    """Return a request's api-version; raises where it is missing, unknown or refused."""
    if version is None:
        raise BatchError("MissingRequiredQueryParameter", ("QueryParameterName", "api-version"))
    if version in API_VERSIONS and version not in refused:
        return version
    if re.fullmatch(r"\d{4}-\d\d-\d\d(\.\d+\.\d+)?(-preview)?", version):
        served = ", ".join(known for known in API_VERSIONS if known not in refused)
        raise BatchError(
            "UnsupportedRequestVersion",
            ("RequestVersion", version),
            ("Reason", f"The supported versions are {served}"),
        )
    raise bad_parameter("api-version", version, "The value is not an api-version")


def has_route(route: str | None, version: str) -> bool:
    """Return whether a version has an operation."""
    return version < _ROUTES_UNTIL.get(route or "", "9999")
