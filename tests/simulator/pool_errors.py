"""Times in which every listing of a pool showed an error of its resize, or of its autoscale run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulator.documents import Json
from tests.simulator.facts import Table
from tests.simulator.record import Listing, Record, time_of

#: Kind, code, and of a resize error when that resize ended.
_Error = tuple[str, str, datetime | None]


@dataclass(eq=False)
class _Sight:
    """A pool as a list of pools showed it; empty where it was absent."""

    at: datetime
    document: Json

    @property
    def errors(self) -> dict[_Error, str | None]:
        """The errors it shows, each with its message."""
        resized_at = time_of(self.document.get("allocationStateTransitionTime"))
        found: dict[_Error, str | None] = {
            ("resize", error.get("code") or "", resized_at): error.get("message")
            for error in self.document.get("resizeErrors", [])
        }
        error = self.document.get("autoScaleRun", {}).get("error")
        if error is not None:
            found["autoscale", error.get("code") or "", None] = error.get("message")
        return found

    def short(self, kind: str) -> int:
        """How many nodes of a kind it lacked."""
        wanted, there = self.document[f"target{kind}Nodes"], self.document[f"current{kind}Nodes"]
        return max(int(wanted - there), 0)


def _sights(listings: list[Listing]) -> list[_Sight]:
    """The pool as it was listed, in order; listings that showed nothing of its nodes are passed over."""
    made = []
    for listing in listings:
        document = listing.snapshot.pools.get(listing.pool_id)
        at = listing.snapshot.listed_at
        # Reading: an import of nodes says nothing of the pool, and ends no error of it.
        if at is not None and (document is not None or listing.is_absence):
            made.append(_Sight(at, document or {}))
    return sorted(made, key=lambda sight: sight.at)


def pool_error_episodes(record: Record) -> Table:
    """Every such time, with the listings before and after it that did not show the error."""
    made = []
    for (account, pool_id), listings in record.listings.items():
        sights = _sights(listings)
        for error in {error for sight in sights for error in sight.errors}:
            for first, last in _stretches([error in sight.errors for sight in sights]):
                own = sights[first : last + 1]
                made.append(
                    {"account": account, "pool_id": pool_id}
                    | dict(zip(("kind", "code", "resized_at"), error, strict=True))
                    | _episode(own, error)
                    | {
                        "started_after": sights[first - 1].at if first else None,
                        "ended_before": sights[last + 1].at if last + 1 < len(sights) else None,
                    }
                )
    return made


def _stretches(shown: list[bool]) -> list[tuple[int, int]]:
    """The first and the last place of each run of True."""
    starts = [i for i, is_shown in enumerate(shown) if is_shown and (i == 0 or not shown[i - 1])]
    ends = [i for i, is_shown in enumerate(shown) if is_shown and not any(shown[i + 1 : i + 2])]
    return [*zip(starts, ends, strict=True)]


def _episode(own: list[_Sight], error: _Error) -> dict[str, Any]:
    last = own[-1]
    messages = [message for sight in own if (message := sight.errors[error]) is not None]
    evaluated = [
        time
        for sight in own
        if error[0] == "autoscale"
        and (time := time_of(sight.document["autoScaleRun"].get("timestamp"))) is not None
    ]
    return {
        "first_observed_at": own[0].at,
        "last_observed_at": last.at,
        "message": messages[-1] if messages else None,
        "evaluated_at": min(evaluated, default=None),
        "dedicated_short": last.short("Dedicated"),
        "spot_short": last.short("LowPriority"),
        "vm_size": last.document.get("vmSize"),
    }
