"""The nodes of a pool, followed all the time or worked out on request.

A followed roster keeps every node and moves them all: that is what the truth log needs. An
unfollowed one knows only the seats and works a node out when it is asked for, so that a fleet
of a million nodes costs memory for those last looked at.
"""

from collections import OrderedDict

from .lives import live
from .nodes import Node
from .pools import Pool, Seats
from .states import COUNTER_NAMES, UNBILLED
from .times import DAY, HOUR, MINUTE
from .truth import TruthLog
from .usage import INTERVAL, Usage

WARM_UP = 2 * HOUR  # how long before the start a followed node begins to be simulated
_SHORT_WARM_UP = 40 * MINUTE
_REMEMBERED = 20_000  # unfollowed nodes kept per pool

Place = tuple[str, bool, int]  # node id, is dedicated, seat


class Roster:
    """The nodes of one pool at the fleet's now."""

    def __init__(self, pool: Pool, log: TruthLog | None) -> None:
        """Follow every node if there is a log to tell, else none."""
        self.pool = pool
        self._log = log
        self._now = pool.plan.start
        self._nodes: OrderedDict[tuple[bool, int], Node] = OrderedDict()
        self._places: list[Place] = []
        self._places_of = -1
        self._counts: dict[str, dict[str, int]] | None = None
        self._usage = Usage(pool.plan.start - 7 * DAY)
        if log is not None:
            pool.on_join.append(self._join)
            pool.on_leave.append(self._leave)
            for seats in pool.kinds:
                for seat in seats:
                    self._join(seats, seat)

    def _make(self, seats: Seats, seat: int) -> Node:
        plan = self.pool.plan
        allocated_at = seats.allocated_at[seat]
        node = Node(
            plan,
            seat,
            seats.tenancy[seat],
            seats.identity[seat],
            allocated_at,
            is_dedicated=seats.is_dedicated,
            log=self._log,
            usage=None if self._log is None else self._usage,
        )
        settled_at = None
        if allocated_at < plan.start - WARM_UP - HOUR:
            warm_up = _SHORT_WARM_UP if self._log is None else WARM_UP
            settled_at = plan.start - warm_up + int(node.rng.uniform(0, 10) * MINUTE)
        node.life = live(node, settled_at)
        node.next_at = allocated_at if settled_at is None else settled_at
        if seat in seats.leaving:
            node.leave(*seats.leaving[seat])
        return node

    def _join(self, seats: Seats, seat: int) -> None:
        before = self._nodes.pop((seats.is_dedicated, seat), None)
        if before is not None:  # it left and was followed by another within one step
            before.advance(before.gone_at)
        self._nodes[seats.is_dedicated, seat] = self._make(seats, seat)

    def _leave(self, seats: Seats, seat: int) -> None:
        self._nodes[seats.is_dedicated, seat].leave(*seats.leaving[seat])

    def advance(self, to: int) -> None:
        """Move to a time; the pool itself must have been moved there before."""
        self._now = to
        self._counts = None
        if self._log is None:
            return
        for key, node in list(self._nodes.items()):
            if node.next_at <= to or node.leaving_at <= to:
                node.advance(to)
                if node.gone_at <= to:
                    del self._nodes[key]
        self._usage.forget(to)

    def places(self) -> list[Place]:
        """Return every node of the pool, sorted by id as the service lists them."""
        if self._places_of != self.pool.membership:
            self._places = sorted(
                (seats.node_id(seat), seats.is_dedicated, seat)
                for seats in self.pool.kinds
                for seat in seats
            )
            self._places_of = self.pool.membership
        return self._places

    def node(self, place: Place) -> Node:
        """Return a node as it is now."""
        _, is_dedicated, seat = place
        key = (is_dedicated, seat)
        if self._log is not None:
            return self._nodes[key]
        seats = self.pool.dedicated if is_dedicated else self.pool.spot
        node = self._nodes.get(key)
        if node is None or node.allocated_at != seats.allocated_at[seat]:
            node = self._nodes[key] = self._make(seats, seat)
            if len(self._nodes) > _REMEMBERED:
                self._nodes.popitem(last=False)
        else:
            self._nodes.move_to_end(key)
            if seat in seats.leaving:
                node.leave(*seats.leaving[seat])
        node.advance(self._now)
        return node

    def forget(self) -> None:
        """Let go of what can be worked out again, to save memory."""
        self._places, self._places_of = [], -1
        if self._log is None:
            self._nodes.clear()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return nodes by state as PoolNodeCounts has them: dedicated and lowPriority."""
        if self._counts is None:
            kinds = {}
            for name in ("dedicated", "lowPriority"):
                kinds[name] = dict.fromkeys(COUNTER_NAMES.values(), 0) | {"total": 0}
            for place in self.places():
                node = self.node(place)
                kind = kinds["dedicated" if node.is_dedicated else "lowPriority"]
                kind[COUNTER_NAMES[node.state]] += 1
                kind["total"] += 1
            self._counts = kinds
        return self._counts

    def usage(self) -> Usage:
        """Return the pool's machine time until now.

        Followed pools are counted exactly; an unfollowed one as if it had held today's number
        of nodes for the last day.
        """
        usage = self._usage.copy()
        if self._log is None:
            last = self._now // INTERVAL * INTERVAL
            for _ in range(len(self.pool.dedicated) + len(self.pool.spot)):
                usage.add(last - DAY, last)
            return usage
        for node in self._nodes.values():
            if node.state not in UNBILLED:
                usage.add(node.state_since, self._now)
        return usage
