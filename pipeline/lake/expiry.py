"""Days that an expiry has given up, or is about to: who would add to one waits, and is refused.

An expiry tells of its intent, looks what the day is still needed for, and marks it. A writer puts its
ledger file, then looks for an intent or a mark. So one of the two sees the other, however long either
was held up in between. Before the mark it names the days whose history was made with rows of that
day: were their file of ``history/days`` lost, nothing else would tell that rows are missing.
"""

from __future__ import annotations

import contextlib
import time
from datetime import date
from typing import TYPE_CHECKING

from pipeline.schema.facts import AccountDay
from pipeline.storage import LakeError, Locked, Storage, put

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pipeline.lake.lake import Lake

#: Seconds that a writer which has put nothing yet waits for an expiry to decide on its day.
PATIENCE = 30.0
_STEP = 0.1


class Refused(LakeError):
    """The lake must not take this snapshot: its day has expired."""


def mark_key(day: date, account: str) -> str:
    """Where the mark of an expired day lies; it is never deleted."""
    return f"expired/date={day.isoformat()}/{account}"


def intent_key(day: date, account: str) -> str:
    """Where an expiry that is about to mark a day tells so, until it has, or has not."""
    return f"expiring/date={day.isoformat()}/{account}"


def leaning_key(day: date, account: str) -> str:
    """Where it is told with rows of which expired days the history of a day was made, until it goes."""
    return f"leaning/date={day.isoformat()}/{account}"


def note_leaning(storage: Storage, account: str, day: date, on: Iterable[date]) -> None:
    """Tells that the history of a day was made with rows of these days too; each stays told."""
    told = leans_on(storage, account, day)
    if not told.issuperset(on):
        lines = "".join(f"{each.isoformat()}\n" for each in sorted({*told, *on}))
        put(storage, leaning_key(day, account), lines.encode())


def leans_on(storage: Storage, account: str, day: date) -> set[date]:
    """The days that ``note_leaning`` told of."""
    key = leaning_key(day, account)
    if storage.find(key) is None:
        return set()
    with storage.open(key) as file:
        return {date.fromisoformat(line) for line in file.read().decode().split()}


def leaning(storage: Storage) -> set[AccountDay]:
    """The account-days that ``note_leaning`` told of."""
    return _days_in(storage, "leaning")


def marks(storage: Storage) -> set[AccountDay]:
    """The account-days that have expired."""
    return _days_in(storage, "expired")


def _days_in(storage: Storage, zone: str) -> set[AccountDay]:
    found = set()
    for entry in storage.list(zone):
        folder, _, account = entry.key.rpartition("/")
        day = day_of(folder)
        if day:
            found.add((account, day))
    return found


def day_of(folder: str) -> date | None:
    """The day of a folder ``…/date=YYYY-MM-DD``; None of a stray: ``date=20261116`` is one."""
    text = folder.rpartition("/date=")[2]
    with contextlib.suppress(ValueError):
        day = date.fromisoformat(text)
        return day if day.isoformat() == text else None
    return None


def forget_intents(storage: Storage, account: str) -> None:
    """Removes what a killed expiry of the account left; the account's compaction lock is held."""
    for whose, day in _days_in(storage, "expiring"):
        if whose == account:
            storage.delete(intent_key(day, account))


def refuse(lake: Lake, account: str, day: date, *, is_there: bool) -> None:
    """Refuses to add to a day that has expired, or whose history was made with rows that have.

    Args:
        lake: the lake.
        account: of the snapshot.
        day: of the snapshot.
        is_there: the snapshot has its ledger file: an expiry that is deciding on such a day is waited
            for until it has.

    Raises:
        Refused: nothing may be added to that day.
        Locked: nothing is there yet, and an expiry has been deciding for ``PATIENCE``.
    """
    give_up_at = time.monotonic() + PATIENCE
    while _leans_on(lake, account, day, _days_in(lake.storage, "expiring")):
        try:
            # who is about to expire a day holds this lock: if it is free, that run was killed
            with lake.lock("compaction", account):
                forget_intents(lake.storage, account)
        except Locked:
            if not is_there and time.monotonic() > give_up_at:
                raise
            time.sleep(_STEP)
    if lake.is_expired(day, account):
        raise Refused(f"{day} of {account} has expired: nothing may be added to it")
    if gone := _leans_on(lake, account, day, lake.marks()):
        raise Refused(
            f"the history of {day} of {account} was made with rows of {gone}, which has "
            "expired: nothing may be added to it"
        )
    if not is_there and lake.is_told_by_history_alone(day, account):
        raise Refused(
            f"the rows of {day} of {account} are gone, its history is all there is of it: nothing may "
            "be added to it"
        )


def _leans_on(lake: Lake, account: str, day: date, gone: Collection[AccountDay]) -> date | None:
    """Of these days the snapshot's, or one that its day's history leans on."""
    if not gone or (account, day) in gone:
        return day if gone else None
    made = lake.made_from(day, account)
    if made:
        return made.leans_on(gone, account)
    told = leans_on(lake.storage, account, day)
    return next((each for each in sorted(told) if (account, each) in gone), None)
