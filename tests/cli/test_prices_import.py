"""``nodelake prices import``: pages of Azure's retail price API become a price file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline.query.prices import read_prices


def item(sku: str = "D8s v5", price: float = 0.4, **more: Any) -> dict[str, Any]:
    """One meter as the API returns it (made up, in its form)."""
    return {
        "currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price, "unitPrice": price,
        "armRegionName": "westeurope", "location": "EU West",
        "effectiveStartDate": "2026-01-01T00:00:00Z",
        "meterName": sku, "productName": "Virtual Machines Dsv5 Series", "skuName": sku,
        "serviceName": "Virtual Machines", "unitOfMeasure": "1 Hour", "type": "Consumption",
        "isPrimaryMeterRegion": True, "armSkuName": "Standard_D8s_v5",
    } | more  # fmt: skip


def page(path: Path, *items: dict[str, Any]) -> str:
    """A saved page."""
    path.write_text(json.dumps({"BillingCurrency": "USD", "Items": items, "NextPageLink": None}))
    return str(path)


def test_a_page_becomes_a_price_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Linux by the hour: dedicated and spot; what nodelake reads back is what the page said."""
    file = page(
        tmp_path / "page.json",
        item(),
        item("D8s v5 Spot", 0.09),
        item("D8s v5 Low Priority", 0.08),
        item(price=0.77, productName="Virtual Machines Dsv5 Series Windows"),
        item(price=2000.0, type="Reservation", reservationTerm="1 Year"),
        item(price=5.0, productName="Dsv5 Series Dedicated Host"),
        item(price=0.5, productName="Dsv5 Series Cloud Services"),
        item("E2 v5", 0.126, armSkuName="Standard_E2_v5"),
    )
    out = tmp_path / "prices.csv"
    assert cli.run(["prices", "import", file, "-o", str(out)]) == 0
    read = [
        (row["vm_size"], row["is_dedicated"], row["price_per_hour"], row["currency"])
        for row in read_prices(out).to_pylist()
    ]
    assert [
        ("standard_d8s_v5", True, 0.4, "USD"),
        ("standard_d8s_v5", False, 0.09, "USD"),
        ("standard_e2_v5", True, 0.126, "USD"),
    ] == read
    assert cli.run(["prices", "import", file, "--windows"]) == 0
    assert "standard_d8s_v5,dedicated,0.77,USD\n" in capsys.readouterr().out


def test_the_newest_price_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two prices of one size and kind in two pages, the one that is in force since later."""
    old = page(tmp_path / "1.json", item(price=0.5, effectiveStartDate="2025-01-01T00:00:00Z"))
    new = page(tmp_path / "2.json", item(price=0.3, effectiveStartDate="2026-06-01T00:00:00Z"))
    for files in ([old, new], [new, old]):
        assert cli.run(["prices", "import", *files]) == 0
        assert capsys.readouterr().out.splitlines()[1:] == ["standard_d8s_v5,dedicated,0.3,USD"]


def test_regions_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pages of two regions want --region; one that is not there is said."""
    file = page(tmp_path / "p.json", item(), item(price=0.6, armRegionName="eastus"))
    assert cli.run(["prices", "import", file]) == 2
    assert "eastus, westeurope" in capsys.readouterr().err
    assert cli.run(["prices", "import", file, "--region", "EastUS"]) == 0
    assert "0.6" in capsys.readouterr().out
    assert cli.run(["prices", "import", file, "--region", "nowhere"]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{}", "no list named 'Items'"),
        ('{"Items": [3]}', "Items[0]: expected an object"),
        ('{"Items": [{"serviceName": "Virtual Machines"}]}', "Items[0]: has no armSkuName"),
        ('{"Items": []}', "no hourly price"),
    ],
)
def test_what_is_no_page_is_named(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file and the place in it; an existing price file is not touched."""
    file, out = tmp_path / "page.json", tmp_path / "prices.csv"
    file.write_text(text)
    out.write_text("old")
    assert cli.run(["prices", "import", str(file), "-o", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert out.read_text() == "old"
