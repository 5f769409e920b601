"""Options that many commands share, and what they lead to: settings, lake, connection."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli import completion

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.lake import Lake
    from pipeline.query import Connection

Command = TypeVar("Command", bound=Callable[..., Any])


def lake_option(command: Command) -> Command:
    """Adds --lake to a command."""
    return click.option(
        "--lake",
        metavar="URI",
        help="Directory, az://container/prefix or abfss://… [NODELAKE_LAKE, else data/lake].",
    )(command)


def account_option(command: Command) -> Command:
    """Adds --account, repeatable."""
    return click.option(
        "--account",
        "accounts",
        multiple=True,
        metavar="NAME",
        shell_complete=completion.accounts,
        help="Only this account of nodelake.toml, by label or name; repeatable [all].",
    )(command)


def pool_option(command: Command) -> Command:
    """Adds --pool, repeatable."""
    return click.option(
        "--pool",
        "pools",
        multiple=True,
        metavar="ID",
        shell_complete=completion.pools,
        help="Only this pool; repeatable [all]. Such a run does not prove that a node has gone.",
    )(command)


def api_version_option(command: Command) -> Command:
    """Adds --api-version."""
    return click.option(
        "--api-version",
        metavar="V",
        help="REST api-version; a newer one where the service refuses it [2024-07-01.20.0].",
    )(command)


def number(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A number of an option that is one: nan lies within every range, and no time passes it."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("not a number", context, parameter)
    return value


def settings(
    lake: str | None, accounts: tuple[str, ...] = (), api_version: str | None = None
) -> Settings:
    """Settings from flags, environment and file.

    Raises:
        ConfigError: exit 2.
    """
    from pipeline import config

    shared = click.get_current_context().find_root().obj or {}
    file = shared.get("config")
    return config.load(
        Path(file) if file else None,
        os.environ,
        lake=lake or shared.get("lake"),
        accounts=accounts,
        api_version=api_version,
    )


def open_lake(lake: str | None) -> Lake:
    """The lake that flags, environment and file name."""
    from pipeline.lake import Lake

    return Lake(settings(lake).lake)


def connect(lake: str | None) -> Connection:
    """A DuckDB connection to that lake."""
    from pipeline import query

    return query.connect(open_lake(lake))


def is_of(account: str, wanted: tuple[str, ...]) -> bool:
    """Whether an account is one of those, by its label or by its name alone; of none, any is."""
    return not wanted or account in wanted or account.partition(".")[0] in wanted


def pools_like(connection: Connection, pool: str | None = None) -> list[str]:
    """Ids of pools that were ever listed, five at most: those first that are called much like it."""
    rows = connection.table(
        "select name from "
        "(select pool_id as name from pools union select pool_id from pool_hours) "
        "order by jaro_winkler_similarity(lower(name), lower($pool)) desc, name limit 5",
        {"pool": pool or ""},
    )
    names: list[str] = rows["name"].to_pylist()
    return names


def warn_of_nothing(connection: Connection) -> None:
    """Says so where a lake holds nothing at all: no rows may be no trouble, or a name mistyped."""
    if connection.view.is_empty:
        logging.getLogger("nodelake").warning("no snapshots in %s", connection.lake)
