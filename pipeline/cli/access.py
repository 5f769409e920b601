"""Turns the shared options into settings, a lake, a connection."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.lake import Lake
    from pipeline.query import Connection


def shared_value(name: str) -> str | None:
    """The value of --lake or --config, before or after the command's name."""
    value: str | None = click.get_current_context().find_root().ensure_object(dict).get(name)
    return value


def settings(
    accounts: tuple[str, ...] = (),
    api_version: str | None = None,
    allowed_hosts: tuple[str, ...] = (),
) -> Settings:
    """Settings from flags, environment and file.

    Raises:
        ConfigError: exit 2.
    """
    from pipeline import config

    file = shared_value("config")
    return config.load(
        Path(file) if file else None,
        os.environ,
        lake=shared_value("lake"),
        accounts=accounts,
        api_version=api_version,
        allowed_hosts=allowed_hosts,
    )


def lake_to_write() -> Lake:
    """The lake of the settings; the first write creates it."""
    from pipeline.lake import Lake

    return Lake(settings().lake)


def lake_to_read() -> Lake:
    """The lake of the settings.

    Raises:
        NoLake: there is none, exit 2.
    """
    from pipeline.cli.lakes import require

    return require(lake_to_write())


def connect() -> Connection:
    """A DuckDB connection to that lake.

    Raises:
        NoLake: there is none, exit 2.
    """
    from pipeline import query

    return query.connect(lake_to_read())
