"""Turns pages of Azure's retail price API into a price file.

A page has ``Items``, one for each meter; spot and Windows show in the names of SKU and product, see
https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.query.prices import PriceError

COLUMNS = ("vm_size", "kind", "price_per_hour", "currency")
_NEEDED = ("armSkuName", "skuName", "productName", "retailPrice", "currencyCode", "armRegionName")


@dataclass(frozen=True)
class Price:
    """A price of one size and kind, with the values that decide between two prices."""

    vm_size: str
    kind: str
    price_per_hour: float
    currency: str
    region: str
    rank: tuple[bool, bool, str]


def read(paths: Iterable[str | Path], *, region: str | None, windows: bool) -> list[Price]:
    """The hourly prices of virtual machines in saved pages of the API, one for each size and kind.

    Reservations, savings plans, dedicated hosts and the other operating system are left out. Where a
    size has a spot and a low-priority price, the spot price counts; of several, the newest.

    Args:
        paths: saved JSON, each a page or a bare list of items.
        region: of the accounts, such as ``westeurope``; may be left out where the pages hold one.
        windows: prices with the Windows licence instead of those without.

    Raises:
        PriceError: a file is no such page, holds several regions or currencies, or no price at all.
    """
    best: dict[tuple[str, str], Price] = {}
    regions: set[str] = set()
    for path in paths:
        for position, item in enumerate(_items(path)):
            price = _price(item, f"{path}: Items[{position}]", windows=windows)
            if price is None or (region and price.region != region.lower()):
                continue
            regions.add(price.region)
            key = price.vm_size, price.kind
            if key not in best or price.rank > best[key].rank:
                best[key] = price
    prices = [best[key] for key in sorted(best)]
    if len(regions) > 1:
        named = ", ".join(sorted(regions))
        raise PriceError(f"prices of {len(regions)} regions ({named}): name one with --region")
    if not prices:
        of = f" in {region}" if region else ""
        raise PriceError(f"no hourly price of a virtual machine{of} is in these files")
    return prices


def write(prices: Iterable[Price]) -> str:
    """The prices as the text of a price file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for price in prices:
        hourly = f"{price.price_per_hour:.6f}".rstrip("0").rstrip(".")
        writer.writerow((price.vm_size, price.kind, hourly, price.currency))
    return text.getvalue()


def _items(path: str | Path) -> list[object]:
    try:
        page: Any = json.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise PriceError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PriceError(f"{path}: is not JSON: {error}") from error
    items = page.get("Items") if isinstance(page, dict) else page
    if not isinstance(items, list):
        raise PriceError(
            f"{path}: has no list named 'Items': is it a page of the retail price API?"
        )
    return items


def _price(item: object, where: str, *, windows: bool) -> Price | None:
    """The price of one item; None where it is not the hourly price of a machine."""
    if not isinstance(item, Mapping):
        raise PriceError(f"{where}: expected an object")
    if item.get("serviceName", "Virtual Machines") != "Virtual Machines":
        return None
    missing = next((name for name in _NEEDED if name not in item), None)
    if missing is not None:
        raise PriceError(f"{where}: has no {missing}")
    sku, product = str(item["skuName"]).lower(), str(item["productName"]).lower()
    if (
        item.get("type", "Consumption") != "Consumption"
        or item.get("unitOfMeasure", "1 Hour") != "1 Hour"
        or not item["armSkuName"]
        or "dedicated host" in product
        or "cloud services" in product.replace("cloudservices", "cloud services")
        or ("windows" in product) != windows
    ):
        return None
    amount = item["retailPrice"]
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not amount >= 0:
        raise PriceError(f"{where}: retailPrice is not a price")
    is_spot, is_low = sku.endswith(" spot"), sku.endswith(" low priority")
    return Price(
        str(item["armSkuName"]).lower(),
        "spot" if is_spot or is_low else "dedicated",
        float(amount),
        str(item["currencyCode"]),
        str(item["armRegionName"]).lower(),
        (
            is_spot,
            item.get("isPrimaryMeterRegion") is True,
            str(item.get("effectiveStartDate", "")),
        ),
    )
