"""The published OpenAPI as JSON Schema, and what recordings look like, for checking replies."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, FormatChecker

#: The files of each version. 2024-02-01.19.0 has none: it is compared with those of the next version.
_2024 = (
    "openapi-2024-07-01.20.0-read-operations.json",
    "openapi-2024-07-01.20.0-more-read-operations.json",
)
OPENAPI = {
    "2024-02-01.19.0": _2024,
    "2024-07-01.20.0": _2024,
    "2025-06-01": ("openapi-2025-06-01-read-operations.json",),
    "2026-10-01": ("openapi-2026-10-01-read-operations.json",),
}
DEFAULT = "2024-07-01.20.0"

#: What this project calls a definition, and what the newer versions call it.
NAMES = {
    "ComputeNode": "BatchNode",
    "ComputeNodeListResult": "BatchNodeListResult",
    "CloudPool": "BatchPool",
    "CloudPoolListResult": "BatchPoolListResult",
    "PoolNodeCountsListResult": "BatchPoolNodeCountsListResult",
    "PoolListUsageMetricsResult": "BatchPoolListUsageMetricsResult",
    "NodeFileListResult": "BatchNodeFileListResult",
    "AccountListSupportedImagesResult": "BatchAccountListSupportedImagesResult",
    "BatchError": "BatchError",
}

#: "Required" by the file and yet left out by the service, as its own texts and recordings say.
NOT_ALWAYS = {
    "BatchNode": {"ipv6Address", "lastBootTime"},
    # nodes cannot be deallocated in 2024-02-01.19.0, which is compared with the next version's file
    "NodeCounts": {"deallocated", "deallocating"},
}


@cache
def definitions(shared: Path, version: str) -> dict[str, Any]:
    """Every definition of a version, from one file or two."""
    found: dict[str, Any] = {}
    for name in OPENAPI[version]:
        found |= json.loads((shared / "contract" / name).read_text())["definitions"]
    return found


def named(definition: str, version: str) -> str:
    """What a version calls a definition."""
    return definition if version.startswith("2024") else NAMES[definition]


CHECKER = FormatChecker(formats=())


@CHECKER.checks("date-time")
def is_time(value: object) -> bool:
    """Times are UTC with a Z and at most seven fractional digits."""
    return not isinstance(value, str) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z", value)
    )


@CHECKER.checks("duration")
def is_duration(value: object) -> bool:
    """Durations are those of ISO 8601."""
    pattern = r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
    return not isinstance(value, str) or bool(re.fullmatch(pattern, value))


@CHECKER.checks("int32")
def is_int32(value: object) -> bool:
    """An int32 fits into four bytes."""
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@CHECKER.checks("int64")
def is_int64(value: object) -> bool:
    """An int64 fits into eight bytes."""
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _strict(schema: Any) -> Any:
    """Allow no property that is not named; compare enums without case, as recordings ask for."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    out = {name: _strict(part) for name, part in schema.items()}
    if isinstance(out.get("enum"), list):
        names = out.pop("enum")
        out["pattern"] = "^(" + "|".join(_any_case(str(name)) for name in names) + ")$"
    if isinstance(out.get("properties"), dict) and "type" in out:
        out.setdefault("additionalProperties", False)
    return out


def _any_case(name: str) -> str:
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else re.escape(c) for c in name)


@cache
def validator(shared: Path, definition: str, version: str) -> Draft4Validator:
    """Return the strict validator of one definition of a version's OpenAPI."""
    schemas = _strict(definitions(shared, version))
    for name, schema in schemas.items():  # the envelope's own member is not in the file
        schema.get("properties", {}).setdefault("odata.metadata", {"type": "string"})
        if name in NOT_ALWAYS and (name != "NodeCounts" or version == "2024-02-01.19.0"):
            schema["required"] = sorted({*schema["required"]} - NOT_ALWAYS[name])
    schema = {"$ref": f"#/definitions/{named(definition, version)}", "definitions": schemas}
    return Draft4Validator(schema, format_checker=CHECKER)


def problems(shared: Path, definition: str, document: Any, version: str = DEFAULT) -> list[str]:
    """Return what a document has against a definition, the first twenty."""
    found = validator(shared, definition, version).iter_errors(document)
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in found][:20]


def paths(document: Any, at: str = "") -> set[str]:
    """Return every property path of a document, arrays as "[]"."""
    if isinstance(document, dict):
        found = set()
        for name, value in document.items():
            path = f"{at}.{name}" if at else name
            found |= {path} | paths(value, path)
        return found
    if isinstance(document, list):
        return {path for item in document for path in paths(item, f"{at}[]")}
    return set()


def schema_paths(shared: Path, definition: str, version: str = DEFAULT) -> set[str]:
    """Return every property path that a definition names, arrays as "[]"."""
    schemas = definitions(shared, version)

    def walk(schema: dict[str, Any], at: str) -> set[str]:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
        if schema.get("type") == "array":
            return walk(schema["items"], f"{at}[]")
        found = set()
        for name, part in schema.get("properties", {}).items():
            path = f"{at}.{name}" if at else name
            found |= {path} | walk(part, path)
        return found

    return walk({"$ref": f"#/definitions/{named(definition, version)}"}, "")
