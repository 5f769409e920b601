"""The command ``prices import``, which makes price files."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.files import replace


@click.group(
    subcommand_metavar="COMMAND [ARGS]",
    epilog="""\b
Example:
  nodelake prices import page.json -o prices.csv""",
)
def prices() -> None:
    """Make the price file that --prices takes."""


@prices.command(
    "import",
    epilog="""\b
Examples:
  curl -G https://prices.azure.com/api/retail/prices > page.json \\
    --data-urlencode "\\$filter=serviceName eq 'Virtual Machines' \\
    and armRegionName eq 'westeurope'"
  nodelake prices import page.json -o prices.csv
  nodelake ask idle_cost --prices prices.csv""",
)
@click.argument("files", nargs=-1, required=True, metavar="FILES")
@click.option("--region", metavar="NAME", help="Only this region, such as westeurope.")
@click.option("--windows", is_flag=True, help="Prices with the Windows licence [without].")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Write this file, whole or not at all [standard output].",
)
def import_(files: tuple[str, ...], region: str | None, windows: bool, output: Path | None) -> int:
    """Turn saved pages of Azure's retail price API into a price file.

    The API answers without an account, 1,000 prices a page: follow NextPageLink
    and save each page. Spot prices change by the day.
    """
    from pipeline.query import retail_prices
    from pipeline.query.prices import PriceError

    try:
        text = retail_prices.write(retail_prices.read(files, region=region, windows=windows))
    except PriceError as error:
        raise click.UsageError(str(error)) from None
    if output is None:
        click.echo(text, nl=False)
    else:
        replace(output, text)
    return 0


COMMANDS = (prices,)
