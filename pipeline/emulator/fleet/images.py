"""The marketplace images that ``/supportedimages`` lists; a fleet file adds and changes some."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ..config import Image
from ..times import DAY, service_time, to_micros

_UBUNTU, _ALMA, _WINDOWS = "canonical", "almalinux", "microsoftwindowsserver"
_CONTAINERS = ("DockerCompatible", "NvidiaTeslaDriverInstalled")


def _image(publisher: str, offer: str, sku: str, agent: str, **rest: Any) -> Image:
    return Image(
        publisher=publisher, offer=offer, sku=sku, node_agent_sku_id=f"batch.node.{agent}", **rest
    )


#: Publishers and offers are real; verification and end dates are mostly made up.
CATALOGUE = (
    _image(_ALMA, "almalinux-x86_64", "8-gen2", "el 8", is_verified=False, ends_at="2029-03-01"),
    _image(_ALMA, "almalinux-x86_64", "9-gen2", "el 9"),
    _image(_UBUNTU, "0001-com-ubuntu-server-focal", "20_04-lts", "ubuntu 20.04",
           ends_at="2025-04-22"),
    _image(_UBUNTU, "0001-com-ubuntu-server-jammy", "22_04-lts", "ubuntu 22.04",
           ends_at="2027-04-01"),
    _image(_UBUNTU, "ubuntu-24_04-lts", "server", "ubuntu 24.04"),
    _image(_UBUNTU, "ubuntu-25_10", "server", "ubuntu 25.10", is_verified=False),
    _image(_UBUNTU, "ubuntu-26_04-lts", "server", "ubuntu 26.04"),
    _image("debian", "debian-12", "12-gen2", "debian 12", is_verified=False),
    _image("microsoft-dsvm", "ubuntu-hpc", "2204", "ubuntu 22.04", capabilities=_CONTAINERS,
           ends_at="2027-04-01"),
    _image("microsoft-dsvm", "ubuntu-hpc", "2404", "ubuntu 24.04", capabilities=_CONTAINERS),
    _image(_WINDOWS, "windowsserver", "2016-datacenter", "windows amd64", os_type="windows",
           ends_at="2027-01-12"),
    _image(_WINDOWS, "windowsserver", "2019-datacenter", "windows amd64", os_type="windows"),
    _image(_WINDOWS, "windowsserver", "2022-datacenter-g2", "windows amd64", os_type="windows",
           capabilities=("DockerCompatible",)),
)  # fmt: skip


def known_images(more: Iterable[Image]) -> tuple[Image, ...]:
    """Return the built-in images and those of a fleet file, sorted; the file's take precedence."""
    images = {
        (image.publisher, image.offer, image.sku, image.node_agent_sku_id): image
        for image in (*CATALOGUE, *more)
    }
    return tuple(images[key] for key in sorted(images))


def image_document(image: Image, start: int) -> dict[str, Any]:
    """Return one ImageInformation of a fleet that started at ``start``, in microseconds."""
    document: dict[str, Any] = {
        "nodeAgentSKUId": image.node_agent_sku_id,
        "imageReference": {
            "publisher": image.publisher,
            "offer": image.offer,
            "sku": image.sku,
            "version": "latest",
        },
        "osType": image.os_type,
    }
    if image.capabilities:
        document["capabilities"] = list(image.capabilities)
    ends = end_of_support(image, start)
    if ends is not None:
        document["batchSupportEndOfLife"] = service_time(ends)
    document["verificationType"] = "verified" if image.is_verified else "unverified"
    return document


def end_of_support(image: Image, start: int) -> int | None:
    """Return when Batch support of an image ends, a UTC midnight in microseconds; None: unknown."""
    if image.ends_at is not None:
        return to_micros(datetime.fromisoformat(image.ends_at).replace(tzinfo=UTC))
    if image.ends_after_days is not None:
        return (start + int(image.ends_after_days * DAY)) // DAY * DAY
    return None
