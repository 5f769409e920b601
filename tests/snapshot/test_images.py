"""The supported images: once a UTC day and account, at no cost to the run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import Lake
from tests.service import Service, make_service, rows, small_fleet


def advance(service: Service, **time: float) -> None:
    """Moves the account's clock."""
    fleet = service.emulator.fleet
    fleet.advance(fleet.now + timedelta(**time))


def stored(lake: Lake) -> list[int]:
    """The images of each snapshot, in order."""
    found = rows(lake, "select supported_images_rows as n from snapshots order by snapshot_id")
    return [row["n"] for row in found]


def test_the_first_snapshot_of_a_day_has_the_images(tmp_path: Path) -> None:
    """The account starts at noon: three snapshots of that day, two of the next."""
    service, lake = make_service(), Lake(tmp_path)
    for _ in range(3):
        assert service.run(lake).exit_code == 0
        advance(service, minutes=5)
    advance(service, hours=12)
    for _ in range(2):
        service.run(lake)
        advance(service, minutes=5)
    listed = service.emulator.fleet.supported_images()
    assert stored(lake) == [len(listed), 0, 0, len(listed), 0]
    found = rows(lake, "from supported_images")
    assert {(row["publisher"], row["offer"], row["sku"]) for row in found} == {
        (image["imageReference"]["publisher"], image["imageReference"]["offer"],
         image["imageReference"]["sku"])
        for image in listed
    }  # fmt: skip
    assert {row["verification_type"] for row in found} == {"verified", "unverified"}
    assert any(row["batch_support_end_of_life"] for row in found)
    assert any(row["capabilities"] for row in found)


def test_each_account_has_its_own(tmp_path: Path) -> None:
    """Another account's images of that day are not this one's."""
    lake = Lake(tmp_path)
    for account in ("one", "two"):
        make_service(account=account).run(lake)
    assert [n > 0 for n in stored(lake)] == [True, True]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "forbidden"}, {"kind": "truncated_json"}, {"kind": "next_link_host"}],
    ids=str,
)
def test_a_list_that_cannot_be_read_costs_the_run_nothing(
    tmp_path: Path, fault: dict[str, Any]
) -> None:
    """Complete, without images; the next snapshot tries again."""
    service, lake = make_service(), Lake(tmp_path)
    service.fault(**fault, route="supportedimages", times=3)
    first = service.run(lake)
    assert first.exit_code == 0
    assert first.row["error_code"] is None
    service.emulator.faults.clear()
    advance(service, minutes=5)
    service.run(lake)
    assert [n > 0 for n in stored(lake)] == [False, True]


def test_an_image_of_wrong_types_costs_itself_only(tmp_path: Path) -> None:
    """The others are stored, the run is complete."""
    service, lake = make_service(small_fleet(alpha=1)), Lake(tmp_path)

    def spoil(image: dict[str, Any]) -> None:
        image["osType"] = 5

    service.fault("mutate", route="supportedimages", mutate=spoil, count=1, page=1)
    assert service.run(lake).exit_code == 0
    assert stored(lake) == [len(service.emulator.fleet.supported_images()) - 1]


def test_a_limited_or_dry_run_asks_for_none(tmp_path: Path) -> None:
    """They are of the account."""
    service, lake = make_service(), Lake(tmp_path)
    service.run(lake, pools=["alpha"])
    service.run(lake, dry_run=True)
    assert stored(lake) == [0]
