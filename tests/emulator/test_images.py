"""The images that Batch supports: pages, filters, ends of support and successors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.emulator import Emulator, Fleet, FleetConfig, Image, PoolConfig, load_fleet_config

from .client import Client
from .conftest import START

ENDING = Image(
    publisher="canonical",
    offer="ubuntu-24_04-lts",
    sku="server",
    node_agent_sku_id="batch.node.ubuntu 24.04",
    ends_after_days=30.5,
)


@pytest.fixture(scope="module")
def client() -> Client:
    """A client to a pool whose image loses support in 30 days."""
    pool = PoolConfig(id="p", dedicated=3, image="canonical/ubuntu-24_04-lts/server")
    return Client(Emulator(Fleet(FleetConfig(pools=(pool,), images=(ENDING,)), start=START)))


def name(image: dict[str, Any]) -> str:
    """publisher/offer/sku."""
    return "/".join(image["imageReference"][part] for part in ("publisher", "offer", "sku"))


def test_pages(client: Client) -> None:
    """Pages together are the list; no image is there twice."""
    whole = client.items("/supportedimages")
    pages = client.pages("/supportedimages", maxresults=4)
    assert whole == [image for page in pages for image in page["value"]]
    assert len(pages) > 2
    assert len(whole) == len({(name(i), i["nodeAgentSKUId"]) for i in whole})
    assert 400 == client.get("/supportedimages", maxresults=1001).status_code


def test_filter(client: Client) -> None:
    """Filters give what they name."""
    whole = client.items("/supportedimages")
    for text, expected in (
        ("osType eq 'windows'", [i for i in whole if i["osType"] == "windows"]),
        ("verificationType ne 'verified'",
         [i for i in whole if i["verificationType"] == "unverified"]),
        ("imageReference/publisher eq 'Canonical'",
         [i for i in whole if i["imageReference"]["publisher"] == "canonical"]),
        ("startswith(nodeAgentSKUId, 'batch.node.ubuntu') and osType eq 'linux'",
         [i for i in whole if i["nodeAgentSKUId"].startswith("batch.node.ubuntu")]),
    ):  # fmt: skip
        assert expected == client.items("/supportedimages", _filter=text, maxresults=2)
        assert expected
    assert 400 == client.get("/supportedimages", _filter="colour eq 'red'").status_code


def test_an_image_that_loses_support(client: Client) -> None:
    """The pool's image ends at a midnight; successors are there, verified and not."""
    whole = {name(image): image for image in client.items("/supportedimages")}
    (pool,) = client.items("/pools")
    reference = pool["virtualMachineConfiguration"]["imageReference"]
    image = whole["/".join(reference[part] for part in ("publisher", "offer", "sku"))]
    assert image["nodeAgentSKUId"] == pool["virtualMachineConfiguration"]["nodeAgentSKUId"]
    end = datetime.fromisoformat(image["batchSupportEndOfLife"])
    assert (START + timedelta(days=30)).replace(hour=0) == end
    others = [i for n, i in whole.items() if n.startswith("canonical/") and i is not image]
    assert {"verified", "unverified"} == {
        i["verificationType"] for i in others if "batchSupportEndOfLife" not in i
    }
    node = client.items("/pools/p/nodes")[0]
    shown = node["virtualMachineInfo"]["imageReference"]
    assert {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}.items() <= (
        shown.items()
    )


def test_ends_by_date_and_unknown_ends(client: Client) -> None:
    """Windows Server 2016 ends on the announced day; most have no end, and no member for it."""
    whole = {name(image): image for image in client.items("/supportedimages")}
    windows = whole["microsoftwindowsserver/windowsserver/2016-datacenter"]
    end = datetime.fromisoformat(windows["batchSupportEndOfLife"])
    assert datetime(2027, 1, 12, tzinfo=UTC) == end
    assert "batchSupportEndOfLife" not in whole["canonical/ubuntu-26_04-lts/server"]


def test_the_demo_has_an_image_near_its_end() -> None:
    """The demo fleet's first pool runs on an image that ends within 90 days; no other does."""
    fleet = Fleet(load_fleet_config(None), start=START)
    client = Client(Emulator(fleet))
    ends = {
        name(image): datetime.fromisoformat(image["batchSupportEndOfLife"])
        for image in client.items("/supportedimages")
        if "batchSupportEndOfLife" in image
    }
    ending = []
    for pool in client.items("/pools"):
        reference = pool["virtualMachineConfiguration"]["imageReference"]
        end = ends.get("/".join(reference.get(k, "") for k in ("publisher", "offer", "sku")))
        if end is not None and end < fleet.now + timedelta(days=90):
            ending.append(pool["id"])
    assert ["render"] == ending
