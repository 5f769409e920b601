"""The manifest of an account-day's history: which ledger files and facts it was built from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Literal, NamedTuple

import msgspec

from pipeline.lake.paths import damaged, list_files, manifest_key, misnamed
from pipeline.schema import facts
from pipeline.schema.facts import AccountDay
from pipeline.storage import Entry, Over, Storage, put


class LedgerFile(msgspec.Struct, frozen=True):
    """A committed file of ``compacted/snapshots``: its bytes, its snapshots, its data files."""

    bytes: int
    snapshots: int
    data: dict[str, int | None]
    """Bytes of the data files, by table with rows; None where the ledger file does not say."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of ``history/manifests/date=…/<account>.json``."""

    account: str
    date: date
    state: Literal["complete", "being rebuilt"] = "complete"
    is_final: bool = False
    """The history depends on expired rows: a rebuild would lose facts, so it is frozen."""
    ledger_files: tuple[str, ...] = ()
    """Keys of the ledger files of the day's window, and of the day itself."""
    own: dict[str, LedgerFile] = {}
    """The day's own compacted ledger files, by name without the suffix."""
    facts: dict[str, int] = {}
    """The version of every fact that was built."""
    files: dict[str, int] = {}
    """The bytes of every fact's file; a fact without rows has no file."""
    first_listing_at: datetime | None = None
    last_listing_at: datetime | None = None
    """When the first and the last listing of the day's own snapshots ended."""
    latest_listing_at: datetime | None = None
    """When the last listing of the window ended."""

    @property
    def own_bytes(self) -> dict[str, int]:
        """The bytes of each of the day's own ledger files."""
        return {stem: file.bytes for stem, file in self.own.items()}

    @property
    def whose(self) -> AccountDay:
        """The account and the day."""
        return self.account, self.date


class Versioned(NamedTuple):
    """A manifest, and the version of the file it was read from."""

    manifest: Manifest
    entry: Entry


def fact_versions() -> dict[str, int]:
    """Every fact with its present version, as in the manifest of a current day."""
    return {fact.name: fact.version for fact in facts.FACTS.values()}


def final_until(manifests: Iterable[Versioned]) -> dict[str, datetime]:
    """By account, the latest listing behind final history; the record is sealed before it."""
    found: dict[str, datetime] = {}
    for m, _ in manifests:
        if m.is_final and (at := m.latest_listing_at):
            found[m.account] = max(at, found.get(m.account, at))
    return found


class Manifests:
    """Reads the manifests of a lake; caches each version."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._read: dict[str, Versioned] = {}

    def load(self) -> dict[AccountDay, Versioned]:
        """Every manifest as it is now.

        Raises:
            LakeError: one cannot be read, or does not match its name.
        """
        files = [*list_files(self.storage, "history/manifests", ".json")]
        found = list(self.storage.many(self._one, [file.entry for file in files]))
        for file, each in zip(files, found, strict=True):
            if each.manifest.whose != (file.stem, file.day):
                account, day = each.manifest.whose
                raise misnamed(self.storage, file.key, f"it is the manifest of {day} of {account}")
        return {each.manifest.whose: each for each in found}

    def _one(self, entry: Entry) -> Versioned:
        known = self._read.get(entry.key)
        if known and known.entry.etag == entry.etag:
            return known
        with self.storage.open(entry.key) as file:
            text = bytes(file.read())
        try:
            found = Versioned(msgspec.json.decode(text, type=Manifest), entry)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise damaged(self.storage, entry.key, f"no manifest ({error})") from error
        self._read[entry.key] = found
        return found

    def changed(self, manifests: Mapping[AccountDay, Versioned]) -> set[AccountDay]:
        """The manifests that have been replaced or deleted since they were read."""
        keys = {v.entry.key: whose for whose, v in manifests.items()}
        there = {e.key: e.etag for e in self.storage.entries("history/manifests", keys)}
        return {w for key, w in keys.items() if there.get(key) != manifests[w].entry.etag}


def put_manifest(storage: Storage, manifest: Manifest, over: Over) -> Entry:
    """Replaces the version of a manifest that was read, or creates it. Raises Changed."""
    key = manifest_key(manifest.date, manifest.account)
    return put(storage, key, msgspec.json.encode(manifest), over)
