"""The command ``emulate``, which serves a made-up Batch account."""

from __future__ import annotations

import contextlib
import logging
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path

import click

log = logging.getLogger("nodelake")


@click.command(
    epilog="""\b
Examples:
  nodelake emulate --port 8080 --speed 60 > emulated.env &    1 hour a minute
  sleep 2; . ./emulated.env; nodelake snapshot
  nodelake emulate --fleet fleet.toml --fault 'throttle route=nodes rate=0.1'"""
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port [any free one].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--fleet", type=click.Path(dir_okay=False), help="Fleet file, TOML [3 pools, 300 nodes]."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another fleet.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Seconds of the fleet's time per second; 0: only /_emulator/advance moves it.",
)
@click.option("--tls", is_flag=True, help="Serve https, with a new self-signed certificate.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="'KIND K=V K=V'",
    help="A fault to serve, with its parameters; repeatable.",
)
@click.option(
    "--refuse-version",
    "refused_versions",
    multiple=True,
    metavar="V",
    help="An api-version to refuse as unsupported; repeatable.",
)
def emulate(
    port: int,
    host: str,
    fleet: str | None,
    seed: int,
    speed: float,
    tls: bool,
    faults: tuple[str, ...],
    refused_versions: tuple[str, ...],
) -> None:
    """Serve a made-up Batch account, until Ctrl-C.

    Prints the settings with which nodelake (or any Batch client) uses it, as export lines. Listens
    on this machine only, unless --host says otherwise.
    """
    from pipeline.emulator import (
        Emulator,
        Faults,
        Fleet,
        FleetFileError,
        load_fleet_config,
        read_fault,
    )

    try:
        made = load_fleet_config(Path(fleet) if fleet else None)
        ordered = Faults([read_fault(line) for line in faults], seed=seed)
    except (FleetFileError, ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None
    living = Fleet(made, seed=seed, start=datetime.now(UTC).replace(microsecond=0))
    emulator = Emulator(
        living,
        account="emulated",
        faults=ordered,
        speed=speed or None,
        refused_versions=refused_versions,
    )
    try:
        served = emulator.serve(port=port, host=host, tls=tls)
        # Ctrl-C is the normal end: exit 0
        with contextlib.suppress(KeyboardInterrupt), served as server:
            for name, value in server.settings.items():
                click.echo(f"export {name}={shlex.quote(value)}")
            for name, value in server.identity_settings.items():
                # with these, and without the key, azure-identity signs in
                click.echo(f"# export {name}={shlex.quote(value)}")
            if server.ca_file:
                click.echo(f"export SSL_CERT_FILE={shlex.quote(str(server.ca_file))}")
            log.info("serving a made-up account at %s; Ctrl-C ends it", server.endpoint)
            while True:
                time.sleep(3600)
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    log.info("stopped")


COMMANDS = (emulate,)
