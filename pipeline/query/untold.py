"""What history cannot tell any more, said to whoever asks for it.

The rows of an expired day are gone: a fact that nodelake learned since is not made of it, and a file
of its history that is lost is not made again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, timedelta

from pipeline.lake.committed import Untold, Why
from pipeline.query.sql_files import table_of

log = logging.getLogger("nodelake.untold")

_WHY: dict[Why, str] = {
    "added later": "does not tell {days}: their rows expired before nodelake made it",
    "made otherwise": "tells {days} as an older nodelake made it: their rows have expired",
    "missing": "does not tell {days}: files are missing, or others are there, and their rows have "
    "expired: bring history/{fact} back from a backup",
    "unmarked": "alone tells {days}: their rows are gone, and no expiry gave them up: bring compacted, "
    "or expired, back from a backup",
    "rows missing": "does not tell {days}: its file is missing, rows it was made with have expired, and "
    "those that are left tell less: bring history/{fact} back from a backup",
}


def table(found: Iterable[Untold]) -> str:
    """The statement that makes the table ``history_untold``: account, date, fact, why."""
    columns = {"account": "varchar", "date": "date", "fact": "varchar", "why": "varchar"}
    return table_of("history_untold", columns, found)


def told(found: Iterable[Untold], facts: Collection[str], since: object = None) -> Iterator[str]:
    """A sentence for each of these facts and each reason why it does not tell some days.

    Args:
        found: all that is not told.
        facts: those that a query reads.
        since: a moment, as text or as a datetime: earlier days are of no matter to the query.
    """
    begins = _day(since)
    days: dict[tuple[str, Why], list[date]] = defaultdict(list)
    accounts: dict[tuple[str, Why], set[str]] = defaultdict(set)
    for account, day, fact, why in found:
        if (fact in facts or (fact == "days" and facts)) and (begins is None or day >= begins):
            days[fact, why].append(day)
            accounts[fact, why].add(account)
    for (fact, why), those in sorted(days.items()):
        count = f"{len(those)} day{'s' if len(those) > 1 else ''}"
        span = f"{min(those)}" if min(those) == max(those) else f"{min(those)} to {max(those)}"
        whose = sorted(accounts[fact, why])
        of = whose[0] if len(whose) == 1 else f"{len(whose)} accounts"
        name = "history" if fact == "days" else fact
        yield f"{name} {_WHY[why].format(days=f'{count} of {of} ({span})', fact=fact)}"


def warn(found: Iterable[Untold], facts: Collection[str], since: object, said: set[str]) -> None:
    """Logs what ``told`` says, but for what was said already."""
    for sentence in told(found, facts, since):
        if sentence not in said:
            said.add(sentence)
            log.warning("%s", sentence)


def _day(moment: object) -> date | None:
    try:
        at = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    except ValueError:
        return None
    return at.date() - timedelta(days=1)  # in whatever time zone it was
