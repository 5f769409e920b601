"""The expiry watermark of an account: how far its record is sealed, and which days have expired."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec

from pipeline.lake.paths import damaged, watermark_key
from pipeline.storage import Entry, LakeError, Missing, Storage, put

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


class Refused(LakeError):
    """The lake refuses a snapshot: its account's record is sealed at that time."""


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``expired/<account>``; neither value ever decreases.

    Snapshots at or before ``sealed_until`` are refused; rows of days up to ``expired_through`` are
    deleted.
    """

    sealed_until: datetime = _BEGINNING
    expired_through: date = date.min

    def has_expired(self, day: date) -> bool:
        """Whether the rows of a day have expired."""
        return day <= self.expired_through

    def is_final(self, moment: datetime) -> bool:
        """Whether the history of a day that ended by then is final, because rows have expired."""
        return self.seals(moment) and self.expired_through > date.min

    def seals(self, moment: datetime) -> bool:
        """Whether snapshots of that time are refused."""
        return moment <= self.sealed_until


def read_watermark(storage: Storage, account: str) -> tuple[Watermark, Entry | None]:
    """An account's watermark and the version of its file; None where the account has none."""
    key = watermark_key(account)
    while (entry := storage.find(key)) is not None:
        try:
            with storage.open(key) as file:
                return msgspec.json.decode(bytes(file.read()), type=Watermark), entry
        except Missing:  # replaced between two requests
            continue
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise damaged(storage, key, f"no expiry watermark ({error})") from error
    return Watermark(), None


def read_watermarks(storage: Storage) -> dict[str, Watermark]:
    """Every account's watermark."""
    names = [entry.key.partition("/")[2] for entry in storage.list("expired")]
    names = [name for name in names if name[:1] != "."]
    return {name: read_watermark(storage, name)[0] for name in names}


def raise_watermark(
    storage: Storage,
    account: str,
    *,
    sealed_until: datetime = _BEGINNING,
    expired_through: date = date.min,
) -> Watermark:
    """Raises the watermark, never lowers it; the caller holds the account's compaction lock.

    Raises:
        Changed: another run wrote the file meanwhile.
    """
    old, entry = read_watermark(storage, account)
    new = Watermark(
        sealed_until=max(old.sealed_until, sealed_until),
        expired_through=max(old.expired_through, expired_through),
    )
    if new != old:
        put(storage, watermark_key(account), msgspec.json.encode(new), entry or "nothing")
    return new
