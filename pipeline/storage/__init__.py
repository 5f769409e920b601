"""Where a lake's files are: a local disk, or Azure Blob."""

from __future__ import annotations

from pathlib import Path

from pipeline.storage.base import (
    Changed,
    Entry,
    Found,
    Given,
    LakeError,
    LakeSettingsError,
    Lock,
    Locked,
    Missing,
    NoContainer,
    Over,
    Sink,
    Storage,
    put,
)

__all__ = [
    "Changed",
    "Entry",
    "Found",
    "Given",
    "LakeError",
    "LakeSettingsError",
    "Lock",
    "Locked",
    "Missing",
    "NoContainer",
    "Over",
    "Sink",
    "Storage",
    "open_storage",
    "put",
]


def open_storage(uri: str) -> Storage:
    """The storage of a lake: a directory, ``az://container/prefix`` or ``abfss://…``.

    Raises:
        LakeSettingsError: the URI has a scheme this version does not know, or lacks settings.
    """
    text = uri.removeprefix("file://")
    if "://" not in text:
        from pipeline.storage.disk import Disk

        try:
            return Disk(Path(text).expanduser().absolute())  # "~" of a settings file, or --lake=~/x
        except RuntimeError:
            raise LakeSettingsError(f"{text}: there is no such home directory") from None
    scheme = text.split("://", 1)[0]
    if scheme not in ("az", "abfss"):
        raise LakeSettingsError(
            f"a lake at {scheme}:// cannot be opened: "
            "a directory, az://container/prefix and abfss:// can"
        )
    try:
        from pipeline.storage.blob import Blob
    except ImportError as error:
        raise LakeError(f"a lake on Azure needs {error.name}: pip install {error.name}") from None
    return Blob(text)
