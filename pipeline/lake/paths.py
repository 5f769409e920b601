"""Names in a lake: snapshot ids, account labels, and the key of every file; the bottom of ``lake``."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from pipeline.storage import Entry, LakeError, LakeSettingsError, Storage

#: The form of a snapshot's id.
ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
_ID = re.compile(ID)
#: The form of an account's label: excludes names of late files and staging files. Also in ``config``.
LABEL = rf"(?!.*\.(?:staging|parquet|json|lock)\Z)(?!.*{ID}\Z)[A-Za-z0-9_-][A-Za-z0-9._-]{{0,127}}"
_LABEL = re.compile(LABEL)
_LATE = re.compile(rf"(.+)-late-({ID})")
_DAY = re.compile(r".*/date=(\d{4}-\d\d-\d\d)")
#: Slashes in a key zone/table/date=…/file: deeper files do not belong to the lake.
_SLASHES = 3


class OldLayout(LakeSettingsError):
    """An older nodelake wrote the lake in a layout that this version does not read."""


def new_snapshot_id(at: datetime, digits: str | None = None) -> str:
    """``YYYYMMDDTHHMMSSZ-<8 hex>``: sorts by time; random digits unless given."""
    utc = at.astimezone(UTC)
    return f"{utc.year:04}{utc:%m%dT%H%M%SZ}-{digits or secrets.token_hex(4)}"


def is_snapshot_id(text: str) -> bool:
    """Whether a text has the form of a snapshot's id, with a valid time."""
    try:
        return _ID.fullmatch(text) is not None and bool(moment_of(text))
    except ValueError:
        return False


def moment_of(snapshot_id: str) -> datetime:
    """The time of a snapshot, from its id, to the second."""
    return datetime.strptime(snapshot_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def date_of(snapshot_id: str) -> date:
    """The UTC date in the paths of a snapshot's files."""
    return date(int(snapshot_id[:4]), int(snapshot_id[4:6]), int(snapshot_id[6:8]))


def day_of(key: str) -> date | None:
    """The day in ``…/date=YYYY-MM-DD``, or None (``date=20261116`` is not a day's folder)."""
    found = _DAY.match(key)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def end_of(day: date) -> datetime:
    """Midnight UTC after a day."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def is_label(account: str) -> bool:
    """Whether an account may become part of a path."""
    return _LABEL.fullmatch(account) is not None


def landing_key(table: str, snapshot_id: str) -> str:
    """The key of a snapshot's file of one table in the landing zone."""
    return f"landing/{table}/date={date_of(snapshot_id).isoformat()}/{snapshot_id}.parquet"


def compacted_key(table: str, day: date, stem: str) -> str:
    """The key of a closed day's file; ``stem`` is the account, or ``late_stem`` for a late file."""
    return f"compacted/{table}/date={day.isoformat()}/{stem}.parquet"


def late_stem(account: str, snapshot_id: str) -> str:
    """The name of the file of one snapshot that came after its day was closed."""
    return f"{account}-late-{snapshot_id}"


def history_key(fact: str, day: date, account: str) -> str:
    """The key of the file of one fact of an account-day."""
    return f"history/{fact}/date={day.isoformat()}/{account}.parquet"


def manifest_key(day: date, account: str) -> str:
    """The key of the manifest of an account-day's history."""
    return f"history/manifests/date={day.isoformat()}/{account}.json"


def watermark_key(account: str) -> str:
    """The key of an account's expiry watermark."""
    return f"expired/{account}"


@dataclass(frozen=True)
class LakeFile:
    """A file below ``zone/table/date=…/``: zone, table, day, and name without the suffix."""

    entry: Entry
    day: date
    stem: str

    @property
    def key(self) -> str:
        """Its key below the lake."""
        return self.entry.key

    @property
    def account(self) -> str:
        """The account of a compacted or history file."""
        late = _LATE.fullmatch(self.stem)
        return late[1] if late else self.stem

    @property
    def late_id(self) -> str | None:
        """The snapshot of a late file; None for a day file."""
        late = _LATE.fullmatch(self.stem)
        return late[2] if late else None

    def beside(self, table: str) -> str:
        """The key of another table's file of the same name."""
        zone, _, rest = self.key.split("/", 2)
        return f"{zone}/{table}/{rest}"


def list_files(storage: Storage, folder: str, suffix: str = ".parquet") -> Iterator[LakeFile]:
    """The files below the days of a folder, without unexpected files."""
    for entry in storage.list(folder):
        path, _, name = entry.key.rpartition("/")
        stem, day = name.removesuffix(suffix), day_of(path)
        if day and stem != name and stem[:1] != "." and entry.key.count("/") == _SLASHES:
            yield LakeFile(entry, day, stem)


def list_landing(storage: Storage, table: str) -> dict[str, LakeFile]:
    """The files of one table in the landing zone, by snapshot.

    Raises:
        LakeError: one lies under another day than its snapshot's.
    """
    found = {}
    for file in list_files(storage, f"landing/{table}"):
        if is_snapshot_id(file.stem):
            if date_of(file.stem) != file.day:
                raise misnamed(storage, file.key, f"its snapshot is of {date_of(file.stem)}")
            found[file.stem] = file
    return found


def misnamed(storage: Storage, key: str, what: str) -> LakeError:
    """The error for a file whose name and content differ."""
    return LakeError(
        f"{storage.url(key)}: {what}: a copy, or renamed? Give the file its name back, or move it "
        "out of the lake"
    )


def damaged(storage: Storage, key: str, what: str) -> LakeError:
    """The error for a file with wrong content."""
    return LakeError(f"{storage.url(key)}: {what}: restore it from a backup")


def refuse_old_layout(storage: Storage) -> None:
    """Raises OldLayout for a lake of 0.1.0's development, with another layout of expiry and history."""
    for folder in ("history/days", "leaning", "expiring", "expired"):
        for entry in storage.list(folder):
            if folder != "expired" or "/date=" in entry.key:
                raise OldLayout(
                    f"{storage.url(entry.key)}: an older nodelake wrote this lake, in a layout that "
                    "this version does not read: rebuild it, or import its saved JSON into a new one"
                )
