"""Reads a fleet file; errors name the table and the key that are wrong."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from ..config import FleetConfig
from .demo import demo_fleet
from .images import known_images


class FleetFileError(ValueError):
    """A fleet file that cannot be used; the text names the file, the table and the key."""


def load_fleet_config(path: str | Path | None = None) -> FleetConfig:
    """Read a fleet file; None gives the demo fleet.

    Raises ``FleetFileError`` for a file that cannot be read, is not TOML, or holds an unknown
    key, a wrong type or an impossible value; its text names the file, the table and the key.
    """
    if path is None:
        return demo_fleet()
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FleetFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FleetFileError(f"{path}: not TOML: {error}") from error
    return parse_fleet_config(document, str(path))


def parse_fleet_config(document: dict[str, Any], name: str) -> FleetConfig:
    """Turn a decoded fleet file into a config; without pools it gets those of the demo.

    ``name`` is the file's, for errors.
    """
    try:
        config = msgspec.convert(document, FleetConfig)
    except msgspec.ValidationError as error:
        raise FleetFileError(f"{name}: {_in_words(str(error))}") from error
    known = {image.name for image in known_images(config.images)}
    for number, pool in enumerate(config.pools, start=1):
        if pool.image is not None and pool.image not in known:
            raise FleetFileError(
                f"{name}: table [pools] number {number}: key 'image': no image {pool.image!r};"
                " add it as [[images]]"
            )
    if "pools" in document:
        return config
    demo = demo_fleet()
    return msgspec.structs.replace(config, pools=demo.pools, images=demo.images + config.images)


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
