"""A pool: its seats, the nodes in them, and how autoscale and manual resizes change its size.

A pool knows its nodes' ids and times (microseconds since 1970) without simulating any of them.
"""

import heapq
import random
from array import array
from collections.abc import Callable, Iterator
from functools import partial

from ..streams import stream
from ..times import DAY, HOUR, MINUTE, SECOND
from ..truth import EndedBy, TruthLog
from .nodes import node_id
from .plan import PoolPlan
from .troubles import EvaluationError, PoolTroubles, ResizeProblem


class Seats:
    """The seats of one kind, dedicated or spot, in compact arrays of 12 bytes a seat."""

    def __init__(self, plan: PoolPlan, capacity: int, *, is_dedicated: bool) -> None:
        """Make ``capacity`` vacant seats."""
        self.plan = plan
        self.is_dedicated = is_dedicated
        self.allocated_at = array("q", bytes(8 * capacity))  # 0: vacant
        self.tenancy = array("H", bytes(2 * capacity))  # nodes that had the seat before
        self.identity = array("H", bytes(2 * capacity))  # unchanged when an id is reused
        self.leaving: dict[int, tuple[int, int, EndedBy]] = {}
        self.vacant = list(range(capacity))  # a heap: the lowest seat is taken first
        self.capacity = capacity

    def __len__(self) -> int:
        """Return how many nodes there are, leaving ones included."""
        return self.capacity - len(self.vacant)

    @property
    def staying(self) -> int:
        """Return how many nodes there are that are not leaving."""
        return len(self) - len(self.leaving)

    def __iter__(self) -> Iterator[int]:
        """Yield the seats that are taken."""
        return (seat for seat in range(self.capacity) if self.allocated_at[seat])

    def node_id(self, seat: int) -> str:
        """Return the id of the node in a seat."""
        return node_id(self.plan, self.is_dedicated, seat, self.identity[seat])


class Pool:
    """One pool of a fleet.

    ``on_join`` and ``on_leave`` are called for every node that joins or will leave; a pool that
    has no listeners costs nothing per node but its seat.
    """

    def __init__(self, plan: PoolPlan, log: TruthLog | None = None) -> None:
        """Make the pool as it is when the fleet starts: at its size, without errors."""
        config = plan.config
        self.plan = plan
        self.id = config.id
        self.rng: random.Random = stream(plan.seed, config.id, "pool")
        dedicated, spot = config.seats
        self.dedicated = Seats(plan, dedicated, is_dedicated=True)
        self.spot = Seats(plan, spot, is_dedicated=False)
        self.target_dedicated = 0
        self.target_spot = 0
        is_old = config.create_after_hours == 0
        age = int(self.rng.uniform(20, 60) * DAY)
        self.created_at = plan.created_at - (age if is_old else 0)
        self.modified_at = self.created_at
        self.state = "active"
        self.state_since = self.created_at
        self.allocation_state = "steady"
        self.allocation_since = self.created_at
        self.troubles = PoolTroubles(plan, log)
        self.autoscale_at: int | None = None
        self.autoscale_results = ""
        self._is_created = False
        self.is_gone = False
        self.gone_at: int | None = None
        self.membership = 0  # grows with each node that joins or leaves
        self.on_join: list[Callable[[Seats, int], None]] = []
        self.on_leave: list[Callable[[Seats, int], None]] = []
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = 0
        if is_old:
            self._populate()
        else:
            self._at(plan.created_at, self._create)
        for resize in config.resizes:
            when = plan.start + int(resize.after_hours * HOUR)
            self._at(when, partial(self.resize, dedicated=resize.dedicated, spot=resize.spot))
        for shortage in config.shortages:
            ends = plan.start + int((shortage.after_hours + shortage.hours) * HOUR)
            self._at(ends, self._retry)
        if config.autoscale is not None:
            self._at(plan.created_at + 2 * MINUTE, self._autoscale)
        if config.delete_after_hours is not None:
            self._at(plan.start + int(config.delete_after_hours * HOUR), self._delete)
        if config.removals_per_day:
            self._at(plan.created_at + self._until_removal(), self._remove_one)

    @property
    def kinds(self) -> tuple[Seats, Seats]:
        """Return the dedicated and the spot seats."""
        return self.dedicated, self.spot

    @property
    def is_listed(self) -> bool:
        """Return whether the account's listing has the pool."""
        return not self.is_gone and self._is_created

    def advance(self, to: int) -> None:
        """Run every event of the pool up to ``to``."""
        while self._agenda and self._agenda[0][0] <= to:
            at, _, action = heapq.heappop(self._agenda)
            if not self.is_gone:
                action(at)

    def _at(self, when: int, action: Callable[[int], None]) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (when, self._order, action))

    def _populate(self) -> None:
        """Fill the seats with nodes of many ages, as in a pool that has run for a while."""
        self._is_created = True
        config, start = self.plan.config, self.plan.start
        self.target_dedicated, self.target_spot = config.dedicated, config.spot
        if config.autoscale is not None:
            self.target_dedicated, self.target_spot = self._wanted(start)
        self.allocation_since = start - int(self.rng.uniform(1, 40) * HOUR)
        self.modified_at = self.allocation_since - 2 * MINUTE
        for seats, target in ((self.dedicated, self.target_dedicated), (self.spot, self._have())):
            oldest = start - self.created_at
            for seat in range(target):
                age = int(min(self.rng.expovariate(1 / (4 * DAY)), 0.9 * oldest)) + 6 * HOUR
                seats.allocated_at[seat] = start - age
            seats.vacant = list(range(target, seats.capacity))

    def _have(self) -> int:
        """Return how many spot nodes of the target can be allocated, shortages aside."""
        capacity = self.plan.config.spot_capacity
        return self.target_spot if capacity is None else min(capacity, self.target_spot)

    @property
    def resize_problems(self) -> list[ResizeProblem]:
        """Return the errors of the last resize; none before the allocation state is steady."""
        return self.troubles.shown

    @property
    def autoscale_error(self) -> EvaluationError | None:
        """Return the error of the last evaluation of the formula, None if it succeeded."""
        return self.troubles.evaluation

    def _create(self, at: int) -> None:
        self._is_created = True
        config = self.plan.config
        self.created_at = self.modified_at = self.state_since = at
        self.resize(at, config.dedicated, config.spot)

    def _wanted(self, at: int) -> tuple[int, int]:
        """Return the targets that the autoscale formula gives: work follows the hour."""
        scale = self.plan.config.autoscale
        assert scale is not None
        hour = at % DAY / HOUR
        distance = abs((hour - scale.peak_hour + 12) % 24 - 12) / 12  # 0 at the peak, 1 opposite
        noise = stream(self.plan.seed, self.id, "load", at).uniform(-0.06, 0.06)
        load = min(1.0, max(0.0, 1 - distance + noise))
        dedicated = scale.min_dedicated + load * (scale.max_dedicated - scale.min_dedicated)
        spot = scale.min_spot + load * (scale.max_spot - scale.min_spot)
        return round(dedicated), round(spot)

    def _autoscale(self, at: int) -> None:
        scale = self.plan.config.autoscale
        assert scale is not None
        self._at(at + int(scale.interval_minutes * MINUTE), self._autoscale)
        if self.state != "active":
            return
        self.autoscale_at = at
        lacks_samples = self.rng.random() < scale.error_rate
        if self.troubles.evaluate(at, self.created_at, lacks_samples=lacks_samples):
            return
        dedicated, spot = self._wanted(at)
        self.autoscale_results = (
            f"$TargetDedicatedNodes={dedicated};$TargetLowPriorityNodes={spot};"
            "$NodeDeallocationOption=taskcompletion"
        )
        if self.allocation_state == "steady":
            self.resize(at, dedicated, spot)

    def resize(self, at: int, dedicated: int | None, spot: int | None) -> None:
        """Set new targets; nodes join and leave over the next minutes."""
        if self.state != "active":
            return
        old = (self.target_dedicated, self.target_spot)
        if dedicated is not None:
            self.target_dedicated = min(dedicated, self.dedicated.capacity)
        if spot is not None:
            self.target_spot = min(spot, self.spot.capacity)
        if (self.target_dedicated, self.target_spot) != old:
            self.modified_at = at
            self._allocate(at)

    def _allocate(self, at: int) -> None:
        """Bring the number of nodes to the targets, within the limits."""
        self.allocation_state = "resizing"
        self.allocation_since = at
        self.troubles.begin_resize(at)
        last = at + 60 * SECOND
        limits = self.troubles.limits(at)
        for seats, target in ((self.dedicated, self.target_dedicated), (self.spot, self._have())):
            wanted = target - seats.staying
            limit = limits[0 if seats.is_dedicated else 1]
            if limit is not None:
                wanted = min(wanted, max(0, limit - seats.staying))
            for number in range(wanted):
                when = at + (number // 10) * 15 * SECOND + int(self.rng.uniform(30, 150) * SECOND)
                last = max(last, when)
                self._at(when, partial(self._join, seats))
            surplus = seats.staying - target
            if surplus > 0:
                for seat in self._newest(seats, surplus):
                    last = max(last, self._leave(seats, seat, at, "resize"))
        last = max(last, self.troubles.end_resize(at, self._short(limits)))
        self._at(last + 40 * SECOND, self._settle)

    def _short(self, limits: tuple[int | None, int | None]) -> tuple[int, int]:
        """Return how many (dedicated, spot) nodes a resize under these limits will lack."""
        short = []
        for seats, target, limit in (
            (self.dedicated, self.target_dedicated, limits[0]),
            (self.spot, self.target_spot, limits[1]),
        ):
            had = target if limit is None else min(target, max(limit, seats.staying))
            if not seats.is_dedicated:
                had = min(had, max(self._have(), seats.staying))
            short.append(target - had)
        return short[0], short[1]

    def _retry(self, at: int) -> None:
        """Resize the pool to its targets again once a shortage is over."""
        if self.state != "active" or not self.troubles.is_short:
            return
        if self.allocation_state != "steady":
            self._at(at + MINUTE, self._retry)
            return
        self.modified_at = at
        self._allocate(at)

    def _settle(self, at: int) -> None:
        if self.allocation_state == "resizing" and self.state == "active":
            self.allocation_state = "steady"
            self.allocation_since = at
            self.troubles.settle(at, self.created_at)

    def _newest(self, seats: Seats, count: int) -> list[int]:
        """Return the seats to release: mostly the highest, some by chance."""
        staying = [seat for seat in seats if seat not in seats.leaving]
        spared = sum(
            (self.plan.config.faulty_nodes.black_hole, self.plan.config.faulty_nodes.flapping,
             self.plan.config.faulty_nodes.stuck)
        )  # fmt: skip
        by_chance = [s for s in staying[spared:-count] if self.rng.random() < 0.02][: count // 4]
        return by_chance + staying[len(staying) - (count - len(by_chance)) :]

    def _join(self, seats: Seats, at: int) -> None:
        if not seats.vacant or self.state != "active":
            return
        seat = heapq.heappop(seats.vacant)
        seats.allocated_at[seat] = at
        self.membership += 1
        for listener in self.on_join:
            listener(seats, seat)

    def _leave(self, seats: Seats, seat: int, at: int, ended_by: EndedBy) -> int:
        leaving_at = at + int(self.rng.uniform(2, 25) * SECOND)
        gone_at = leaving_at + int(self.rng.uniform(15, 150) * SECOND)
        seats.leaving[seat] = (leaving_at, gone_at, ended_by)
        for listener in self.on_leave:
            listener(seats, seat)
        self._at(gone_at, partial(self._vacate, seats, seat))
        return gone_at

    def _vacate(self, seats: Seats, seat: int, at: int) -> None:
        seats.allocated_at[seat] = 0
        seats.leaving.pop(seat, None)
        seats.tenancy[seat] = (seats.tenancy[seat] + 1) & 0xFFFF
        if self.rng.random() >= self.plan.config.id_reuse_rate:
            seats.identity[seat] = (seats.identity[seat] + 1) & 0xFFFF
        heapq.heappush(seats.vacant, seat)
        self.membership += 1

    def _until_removal(self) -> int:
        return MINUTE + int(self.rng.expovariate(self.plan.config.removals_per_day) * DAY)

    def _remove_one(self, at: int) -> None:
        """Remove one node manually and replace it."""
        self._at(at + self._until_removal(), self._remove_one)
        seats = self.dedicated if self.plan.is_mainly_dedicated else self.spot
        if self.allocation_state != "steady" or self.state != "active" or len(seats) < 8:
            return
        staying = [seat for seat in seats if seat not in seats.leaving]
        seat = self.rng.choice(staying[len(staying) // 2 :])
        gone_at = self._leave(seats, seat, at, "removal")
        self._at(gone_at + 30 * SECOND, partial(self._join, seats))
        self.allocation_state = "resizing"
        self.allocation_since = at
        self.troubles.begin_resize(at)
        self._at(gone_at + 40 * SECOND, self._settle)

    def _delete(self, at: int) -> None:
        self.state = "deleting"
        self.state_since = at
        self.allocation_state = "resizing"
        self.allocation_since = at
        self.troubles.begin_resize(at)
        last = at
        for seats in self.kinds:
            for seat in [s for s in seats if s not in seats.leaving]:
                last = max(last, self._leave(seats, seat, at, "pool_deletion"))
        last = max([last, *(gone for s in self.kinds for _, gone, _ in s.leaving.values())])
        self._at(last + 10 * SECOND, self._vanish)

    def _vanish(self, at: int) -> None:
        self.is_gone = True
        self.gone_at = at
        self.troubles.close(at)
