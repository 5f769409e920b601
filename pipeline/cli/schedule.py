"""The command ``schedule``, which prints files that run nodelake on a schedule or raise alarms."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import __version__
from pipeline.cli.files import replace
from pipeline.cli.options import settings

if TYPE_CHECKING:
    from pipeline.config import Settings

TEMPLATES = Path(__file__).with_name("templates")
KINDS = ("cron", "systemd", "github", "container-apps", "dockerfile", "prometheus-alerts")
#: Signs in to a lake on Blob; the SDK's own variables do otherwise.
_STORAGE = "AZURE_STORAGE_ACCOUNT"
_UNIT = re.compile(r"^#: (\S+)\n", re.MULTILINE)


@click.command(
    epilog="""\b
Examples:
  nodelake schedule cron --lake /srv/lake
  nodelake schedule systemd --output /etc/systemd/system
  nodelake schedule github > .github/workflows/nodelake.yml
  nodelake schedule container-apps --lake az://lake/fleet > nodelake.bicep
  nodelake schedule dockerfile > Dockerfile
  nodelake schedule prometheus-alerts > nodelake.rules.yml"""
)
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.option(
    "--every",
    type=click.IntRange(1, 30),
    default=5,
    show_default=True,
    metavar="MIN",
    help="Minutes between two snapshots.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="systemd: write each unit into this directory.",
)
def schedule(kind: str, every: int, output: Path | None) -> int:
    """Print a ready file that runs nodelake on a schedule.

    KIND is cron, systemd, github, container-apps, dockerfile or
    prometheus-alerts. The lake, the accounts and the names of variables are
    those of the settings in force; no key is ever printed. The first lines of
    each file say how to install it.
    """
    text = render(kind, settings(), every)
    if output is None:
        click.echo(text, nl=False)
        return 0
    if kind != "systemd":
        raise click.UsageError("--output is for systemd, whose units are several files")
    _head, *parts = _UNIT.split(text)
    output.mkdir(parents=True, exist_ok=True)
    for name, unit in zip(parts[::2], parts[1::2], strict=True):
        replace(output / name, unit.strip() + "\n")
        click.echo(str(output / name))
    return 0


def render(kind: str, given: Settings, every: int) -> str:
    """The text of one file.

    Raises:
        ConfigError: the settings do not fit it, such as a lake on this disk for a container.
    """
    import jinja2

    from pipeline.config import ConfigError

    is_blob = "://" in given.lake
    if kind == "container-apps" and not is_blob:
        raise ConfigError(
            f"a container keeps no lake on its disk, and the lake is {given.lake}: "
            "name one on Azure Blob with --lake az://container/prefix"
        )
    lake = given.lake if is_blob else str(Path(given.lake).absolute())
    program = shutil.which(sys.argv[0]) or shutil.which("nodelake") or "nodelake"
    config = [] if given.config_file is None else ["--config", str(given.config_file.absolute())]

    def command(*words: str) -> str:
        return shlex.join([str(Path(program).absolute()), *words, *config, "--lake", lake])

    variables = _variables(given, is_blob)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - plain files, and their values are quoted one by one
    )
    environment.filters |= {
        "percent": lambda text: text.replace("%", r"\%"),
        "percent_systemd": lambda text: text.replace("%", "%%"),
        "shell": shlex.quote,
    }
    template = environment.get_template(f"{kind}.j2")
    return template.render(
        command=command,
        config_name=given.config_file.name if given.config_file else "",
        container=re.split("[/@]", lake.partition("://")[2])[0],
        docker_env="".join(f"-e {name} " for name in variables),
        env_file="/etc/nodelake.env",
        every=every,
        is_blob=is_blob,
        key_names=_key_names(given) if given.config_file else [],
        lake=lake,
        log_file="/var/log/nodelake.jsonl",
        settings=_settings(given),
        variables=variables,
        version=__version__,
    )


def _variables(given: Settings, is_blob: bool) -> list[str]:
    """The environment variables of a run, by name."""
    names: list[str] = []
    if given.config_file is None:
        names += ["AZURE_BATCH_ENDPOINT", "AZURE_BATCH_ACCOUNT", "AZURE_BATCH_ACCESS_KEY"]
    names += _key_names(given)
    if is_blob:
        names.append(_STORAGE)
    return [*dict.fromkeys(names)]


def _key_names(given: Settings) -> list[str]:
    """The variables that a TOML file names for keys: the other accounts sign in with Entra."""
    return [account.key_env for account in given.accounts if account.key_env]


def _settings(given: Settings) -> dict[str, str]:
    """The account of the environment, for a run that signs in with Entra; a TOML file has its own."""
    if given.config_file is not None:
        return {}
    if not given.accounts:
        endpoint, account = "https://ACCOUNT.REGION.batch.azure.com", "ACCOUNT"
    else:
        endpoint, account = given.accounts[0].endpoint, given.accounts[0].name
    return {"AZURE_BATCH_ENDPOINT": endpoint, "AZURE_BATCH_ACCOUNT": account}


COMMANDS = (schedule,)
