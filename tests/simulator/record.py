"""What the polls saw, in plain Python: listings, rows, and which rows are of one node (the contract's
"Tables" and "History").

Where the contract is silent, a comment that begins with "Reading:" says how it is read here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from tests.simulator.documents import Json
from tests.simulator.world import Poll, World

#: Comparisons of the service's clock (Date) with the service's own times allow this much.
ALLOWED = timedelta(seconds=2)
#: A gap in the days of a record that is longer than this is no part of it.
LONGEST_GAP = 31


def time_of(value: Any) -> datetime | None:
    """A time of the service, or None."""
    return datetime.fromisoformat(value) if isinstance(value, str) else None


@dataclass(eq=False)
class Row:
    """A node in a listing."""

    listing: Listing
    node_id: str
    observed_at: datetime
    is_malformed: bool
    document: Json
    allocation_time: datetime | None = None
    """Its own, or (see ``_resolve``) that of the node it belongs to."""

    def value(self, *path: str) -> Any:
        """A member of its JSON; None where it is missing. A malformed row keeps its keys only."""
        found: Any = {} if self.is_malformed else self.document
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def time(self, *path: str) -> datetime | None:
        """The same, of a time."""
        return time_of(self.value(*path))

    @property
    def state(self) -> str | None:
        """Its state, in lower case."""
        state = self.value("state")
        return None if state is None else str(state).lower()

    @property
    def is_state_known(self) -> bool:
        """Whether it shows a state and when that began: else the node was there, in some state."""
        return self.state is not None and self.time("stateTransitionTime") is not None


@dataclass(eq=False)
class Listing:
    """The listing of a pool's nodes, or ``is_absence``: an account listing without the pool."""

    snapshot: Snapshot
    pool_id: str
    status: str
    started_at: datetime | None
    finished_at: datetime | None
    rows: list[Row] = field(default_factory=list)
    is_absence: bool = False
    error_code: str | None = None

    @property
    def is_proof(self) -> bool:
        """Whether it proves that what it lacks was absent: a complete listing of a run that was not
        limited to some pools, or of an import made complete.
        """
        snapshot = self.snapshot
        is_whole = snapshot.scope == "account" or snapshot.source == "import"
        return self.status == "complete" and is_whole


@dataclass(eq=False)
class Snapshot:
    """A run or an import."""

    account: str
    at: datetime
    source: str
    scope: str
    status: str
    pool_listing: str
    listed_at: datetime | None
    """End of its list of pools."""
    pools: dict[str, Json] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)


@dataclass(eq=False)
class Node:
    """An incarnation: its key, its rows in order, and how it ended as far as the polls prove it."""

    account: str
    pool_id: str
    node_id: str
    allocation_time: datetime | None
    rows: list[Row]
    absent_at: datetime | None = None
    is_pool_absent: bool | None = None
    replaced_at: datetime | None = None
    """When the next machine under its id was allocated."""
    replacement_observed_at: datetime | None = None

    @property
    def key(self) -> dict[str, Any]:
        """Its key, as columns."""
        return {
            "account": self.account,
            "pool_id": self.pool_id,
            "node_id": self.node_id,
            "allocation_time": self.allocation_time,
        }

    @property
    def first_observed_at(self) -> datetime:
        """By any row, malformed ones included."""
        return self.rows[0].observed_at

    @property
    def last_observed_at(self) -> datetime:
        """By any row, malformed ones included."""
        return self.rows[-1].observed_at

    @property
    def ended_before(self) -> datetime | None:
        """It was gone by then; None while it is not known to have gone."""
        return min((t for t in (self.absent_at, self.replaced_at) if t), default=None)

    @cached_property
    def readable(self) -> list[Row]:
        """Its rows that are not malformed."""
        return [row for row in self.rows if not row.is_malformed]


class Record:
    """What the polls of a world saw, all of it or some."""

    def __init__(self, polls: list[Poll]) -> None:
        self.snapshots = [made for poll in polls if (made := _snapshot(poll)) is not None]
        self.snapshots.sort(key=lambda snapshot: (snapshot.account, snapshot.at))
        self.accounts = sorted({snapshot.account for snapshot in self.snapshots})
        self.listings: dict[tuple[str, str], list[Listing]] = {}
        for account in self.accounts:
            self._add_listings(account)
        self.nodes: list[Node] = []
        for (account, pool_id), listings in sorted(self.listings.items()):
            by_id: dict[str, list[Row]] = defaultdict(list)
            for listing in listings:
                for row in listing.rows:
                    by_id[row.node_id].append(row)
            for node_id, rows in sorted(by_id.items()):
                _resolve(rows, listings)
                self.nodes += _nodes(account, pool_id, node_id, rows, listings)

    @classmethod
    def of(cls, world: World) -> Record:
        """Of all polls of a world."""
        return cls(world.polls)

    def of_account(self, account: str) -> list[Snapshot]:
        """The snapshots of an account, in order."""
        return [snapshot for snapshot in self.snapshots if snapshot.account == account]

    def _add_listings(self, account: str) -> None:
        """The listings of each pool in the order in which they ended, absences of it among them."""
        snapshots = self.of_account(account)
        pool_ids = {each.pool_id for snapshot in snapshots for each in snapshot.listings}
        pool_ids |= {pool_id for snapshot in snapshots for pool_id in snapshot.pools}
        for pool_id in pool_ids:
            found = []
            for snapshot in snapshots:
                own = [each for each in snapshot.listings if each.pool_id == pool_id]
                found += [each for each in own if each.finished_at is not None]
                proves = snapshot.scope == "account" and snapshot.pool_listing == "complete"
                if proves and pool_id not in snapshot.pools and snapshot.listed_at:
                    at = snapshot.listed_at
                    found.append(Listing(snapshot, pool_id, "complete", at, at, is_absence=True))
            found.sort(key=lambda each: each.finished_at or datetime.max)
            self.listings[account, pool_id] = found

    def days(self, account: str) -> list[date]:
        """The days of the record: those with a listing, and those of a gap of up to a month."""
        # A listing belongs to the day of each of its observations.
        listed = {
            moment.date()
            for (whose, _), listings in self.listings.items()
            for listing in listings
            for moment in (listing.started_at, listing.finished_at)
            if whose == account and not listing.is_absence and moment
        }
        listed |= {
            snapshot.listed_at.date()
            for snapshot in self.of_account(account)
            if snapshot.scope == "account"
            and snapshot.pool_listing == "complete"
            and snapshot.listed_at
        }
        days: list[date] = []
        for day in sorted(listed):
            if days and 1 < (day - days[-1]).days <= LONGEST_GAP:
                days += [days[-1] + timedelta(n) for n in range(1, (day - days[-1]).days)]
            days.append(day)
        return days


def midnight(day: date) -> datetime:
    """The moment at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _snapshot(poll: Poll) -> Snapshot | None:
    """What a poll saw; None for an import without a file."""
    if poll.source == "import":
        if not poll.nodes:
            return None
        made = Snapshot(poll.account, poll.at, "import", "pools", "complete", "partial", None)
    else:
        is_found = poll.pool_fault and not poll.pools
        pool_listing = "failed" if is_found else "partial" if poll.pool_fault else "complete"
        scope = "pools" if poll.wanted else "account"
        listed_at = None if is_found else poll.at
        made = Snapshot(
            poll.account, poll.local_at, "live", scope, "complete", pool_listing, listed_at
        )
        made.pools = {pool["id"]: pool for pool in poll.pools}
    for pool_id, planned in poll.nodes.items():
        status = "complete"
        if planned.fault is not None:
            status = "partial" if planned.pages else "failed"
        elif poll.source == "import" and not poll.is_complete:
            status = "partial"
        started, finished = None, None
        if planned.pages:
            started, finished = planned.pages[0].observed_at, planned.pages[-1].observed_at
        listing = Listing(made, pool_id, status, started, finished)
        if planned.fault is not None:
            listing.error_code = "PoolNotFound" if planned.fault == "gone" else "InternalError"
        met = set()
        for page in planned.pages:
            for document in page.nodes:
                node_id = document["id"]
                if node_id in met:
                    continue  # a node met twice is kept once, the first
                met.add(node_id)
                allocated = time_of(document.get("allocationTime"))
                is_malformed = node_id in page.malformed
                listing.rows.append(
                    Row(listing, node_id, page.observed_at, is_malformed, document, allocated)
                )
        made.listings.append(listing)
    made.status = _status(made)
    return made


def _status(snapshot: Snapshot) -> str:
    malformed = any(row.is_malformed for each in snapshot.listings for row in each.rows)
    if snapshot.source == "import":
        return "partial" if malformed else "complete"
    bad = [each for each in snapshot.listings if each.status != "complete"]
    is_whole = snapshot.pool_listing == "complete" and not bad
    if is_whole and not malformed:
        return "complete"
    has_rows = any(each.rows for each in snapshot.listings)
    return "partial" if is_whole or len(bad) < len(snapshot.listings) or has_rows else "failed"


#: A proof that a node was absent: its start, its finish, whether its pool was.
Absence = tuple[datetime, datetime, bool]


def _absences(listings: list[Listing], rows: list[Row]) -> list[Absence]:
    """The proofs that the node of these rows was absent."""
    holding = {row.listing for row in rows}
    return [
        (each.started_at, each.finished_at, each.is_absence)
        for each in listings
        if each.is_proof and each.started_at and each.finished_at and each not in holding
    ]


def _lives(rows: list[Row], listings: list[Listing]) -> dict[Row, int]:
    """For each row of a node id how often the node was proven gone before it: no absence between
    two rows of one number.
    """
    by_listing = {row.listing: row for row in rows}
    lives = {}
    number = missed = 0
    for listing in listings:
        row = by_listing.get(listing)
        if row is not None:
            number += missed > 0
            missed = 0
            lives[row] = number
        elif listing.is_proof:
            missed += 1
    return lives


def _resolve(rows: list[Row], listings: list[Listing]) -> None:
    """Gives rows without an allocation_time that of their node, once for the whole record.

    It is the nearest one of the same node with no absence between that is not later than the row.
    """
    # Reading: one complete listing without it is an absence (two prove it gone).
    lives = _lives(rows, listings)
    known = [(lives[row], row.allocation_time) for row in rows if row.allocation_time]
    for row in rows:
        if row.allocation_time is None:
            found = [
                allocated
                for life, allocated in known
                if life == lives[row] and allocated <= row.observed_at + ALLOWED
            ]
            # Reading: of several the nearest is the latest, as an id is one machine's at a time.
            row.allocation_time = max(found, default=None)


def _nodes(
    account: str, pool_id: str, node_id: str, rows: list[Row], listings: list[Listing]
) -> list[Node]:
    """The incarnations of an id, each with what proves its end."""
    by_allocation: dict[datetime | None, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.observed_at):
        by_allocation[row.allocation_time].append(row)
    nodes = [Node(account, pool_id, node_id, key, own) for key, own in by_allocation.items()]
    nodes.sort(key=lambda node: (node.first_observed_at, node.last_observed_at))
    for index, node in enumerate(nodes):
        # Another machine under its id is not this node.
        absences = _absences(listings, node.rows)
        # A listing that began before the node was last seen proves nothing.
        after = [each for each in absences if each[0] > node.last_observed_at]
        if after and (len(after) >= 2 or after[0][2]):
            _, node.absent_at, node.is_pool_absent = after[0]
        later = [each.allocation_time for each in nodes[index + 1 :] if each.allocation_time]
        if later and min(later) > node.first_observed_at:
            node.replaced_at = min(later)
        if index + 1 < len(nodes):
            node.replacement_observed_at = nodes[index + 1].first_observed_at
    return nodes
