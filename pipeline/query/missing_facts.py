"""Facts that are missing, or of an older version, for days whose rows have expired."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, timedelta

from pipeline.lake.damage import MissingFact
from pipeline.query.sql_files import table_of

log = logging.getLogger("nodelake.history")

_WHY = {
    "newer fact": "has no rows of {days}: rows expired before nodelake knew the fact",
    "older version": "has {days} as an older nodelake built it: rows have expired",
}


def table(found: Iterable[MissingFact]) -> str:
    """The statement that makes the table ``missing_facts``: account, date, fact, reason."""
    columns = {"account": "varchar", "date": "date", "fact": "varchar", "reason": "varchar"}
    return table_of("missing_facts", columns, found)


def files_table(files: Iterable[str]) -> str:
    """The statement that makes the table ``missing_files``: file."""
    return table_of("missing_files", {"file": "varchar"}, ((file,) for file in files))


def sentences(
    found: Iterable[MissingFact], facts: Collection[str], since: object = None
) -> Iterator[str]:
    """A sentence for each of these facts and each reason why it lacks some days.

    Args:
        found: all missing facts.
        facts: those that a query reads.
        since: a moment, as text or as a datetime: the query needs no earlier day.
    """
    begins = _day(since)
    days: dict[tuple[str, str], list[date]] = defaultdict(list)
    accounts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for account, day, fact, why in found:
        if fact in facts and (begins is None or day >= begins):
            days[fact, why].append(day)
            accounts[fact, why].add(account)
    for (fact, reason), those in sorted(days.items()):
        count = f"{len(those)} day{'s' if len(those) > 1 else ''}"
        span = f"{min(those)}" if min(those) == max(those) else f"{min(those)} to {max(those)}"
        whose = sorted(accounts[fact, reason])
        of = whose[0] if len(whose) == 1 else f"{len(whose)} accounts"
        yield f"{fact} {_WHY[reason].format(days=f'{count} of {of} ({span})')}"


def warn(
    found: Iterable[MissingFact], facts: Collection[str], since: object, said: set[str]
) -> None:
    """Logs the ``sentences``, each once."""
    for sentence in sentences(found, facts, since):
        if sentence not in said:
            said.add(sentence)
            log.warning("%s", sentence)


def _day(moment: object) -> date | None:
    try:
        at = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    except ValueError:
        return None
    return at.date() - timedelta(days=1)  # whatever its time zone
