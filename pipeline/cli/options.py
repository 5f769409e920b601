"""Options that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli import completion
from pipeline.cli.access import connect as connect
from pipeline.cli.access import lake_to_read as lake_to_read
from pipeline.cli.access import lake_to_write as lake_to_write
from pipeline.cli.access import settings as settings
from pipeline.cli.access import shared_value as shared_value
from pipeline.cli.console import set_up_logging
from pipeline.cli.values import number

if TYPE_CHECKING:
    from pipeline.query import Connection

Command = TypeVar("Command", bound=Callable[..., Any])


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Stores a shared option's value; one after the command's name takes precedence."""
    if value is not None and parameter.name is not None:
        context.find_root().ensure_object(dict)[parameter.name] = value


def _verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        set_up_logging(True)


_LAKE_HELP = (
    "The lake: a directory, az://CONTAINER/PREFIX or an abfss:// URI [NODELAKE_LAKE, else "
    "data/lake]."
)


def lake_option(text: str = _LAKE_HELP) -> Callable[[Command], Command]:
    """Adds --lake with another help text; every command has the option without this."""
    return click.option("--lake", metavar="URI", expose_value=False, callback=_keep, help=text)


def share_options(command: click.Command) -> click.Command:
    """Adds --lake, --config and -v to a command and its subcommands that lack them."""

    @lake_option()
    @click.option(
        "--config",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=_keep,
        help="Settings file [NODELAKE_CONFIG, else nodelake.toml].",
    )
    @click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_verbose,
        help="Log every request.",
    )
    def shared() -> None: ...

    options: list[click.Parameter] = click.command(shared).params
    own = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in options if own.isdisjoint(option.opts)]
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        share_options(each)
    return command


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
        help="Only this pool; repeatable [all]. Such a run does not prove that a node is gone.",
    )(command)


def api_version_option(command: Command) -> Command:
    """Adds --api-version."""
    return click.option(
        "--api-version",
        metavar="V",
        help="REST api-version; a newer one where the service refuses it [2024-07-01.20.0].",
    )(command)


def deadline_option(command: Command) -> Command:
    """Adds --deadline."""
    return click.option(
        "--deadline",
        type=click.FloatRange(min=0.001, max=86_400),
        callback=number,
        metavar="SECONDS",
        help="An account's run ends within this time [240].",
    )(command)


def keep_env_option(command: Command) -> Command:
    """Adds --keep-env, repeatable."""
    return click.option(
        "--keep-env",
        multiple=True,
        metavar="NAME",
        help="Keep this environment setting's value; repeatable [all are masked].",
    )(command)


def allow_host_option(command: Command) -> Command:
    """Adds --allow-host, repeatable."""
    return click.option(
        "--allow-host",
        "allowed_hosts",
        multiple=True,
        metavar="HOST",
        help="Let the settings file send credentials to this host; repeatable [Azure's own hosts "
        "and this machine; NODELAKE_ALLOWED_HOSTS].",
    )(command)


def prices_option(command: Command) -> Command:
    """Adds --prices."""
    return click.option(
        "--prices",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Add costs, from a CSV of hourly prices: vm_size, kind (dedicated or spot), "
        "price_per_hour, currency.",
    )(command)


def use_prices(connection: Connection, prices: str | None) -> None:
    """Loads the file of --prices, if given; an invalid file is a usage error."""
    from pipeline.query.prices import PriceError

    if prices is None:
        return
    try:
        connection.use_prices(prices)
    except PriceError as error:
        raise click.BadParameter(str(error), param_hint="--prices") from None


def is_of(account: str, wanted: tuple[str, ...]) -> bool:
    """Whether an account is one of these labels or names; true where none is given."""
    return not wanted or account in wanted or account.partition(".")[0] in wanted


def pools_like(connection: Connection, pool: str | None = None) -> list[str]:
    """Ids of at most five pools, the most similar first."""
    rows = connection.table(
        "select name from "
        "(select pool_id as name from pools union select pool_id from pool_hours) "
        "order by jaro_winkler_similarity(lower(name), lower($pool)) desc, name limit 5",
        {"pool": pool or ""},
    )
    names: list[str] = rows["name"].to_pylist()
    return names


def warn_if_empty(connection: Connection) -> None:
    """Logs a warning where the lake is empty: no rows would read as no trouble."""
    if connection.view.is_empty:
        logging.getLogger("nodelake").warning("no snapshots in %s", connection.lake)
