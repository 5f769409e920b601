"""The nodes of a pool, followed all the time or worked out on request.

A followed roster keeps every node and moves them all: that is what the truth log needs. An
unfollowed one knows only the seats and works a node out when it is asked for, so that a fleet
of a million nodes costs memory for those last looked at.
"""

from array import array
from collections import OrderedDict

from ..states import COUNTER_NAMES, STATES, UNBILLED, NodeState
from ..times import DAY, HOUR, MINUTE
from ..truth import TruthLog
from .lives import live
from .nodes import Node
from .pools import Pool, Seats
from .usage import INTERVAL, Usage

WARM_UP = 2 * HOUR  # how long before the start a followed node begins to be simulated
_SHORT_WARM_UP = 40 * MINUTE
_NUMBER = {state: number for number, state in enumerate(STATES, start=1)}

Place = tuple[str, bool, int]  # node id, is dedicated, seat


class Shelf:
    """What was last worked out of unfollowed pools, a bounded amount for the whole fleet.

    A node takes some 8 kB, a pool's list of places some 200 bytes a node.
    """

    def __init__(self, most_nodes: int = 8_000, most_places: int = 100_000) -> None:
        """Keep no more nodes than this, and the places of pools of no more nodes than that."""
        self._most_nodes = most_nodes
        self._most_places = most_places
        self._nodes: OrderedDict[tuple[str, bool, int], Node] = OrderedDict()
        self._places: OrderedDict[str, list[Place]] = OrderedDict()

    def node(self, key: tuple[str, bool, int]) -> Node | None:
        """Return a node that is still there."""
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.move_to_end(key)
        return node

    def put_node(self, key: tuple[str, bool, int], node: Node) -> None:
        """Put a node on the shelf; the one looked at longest ago falls off."""
        self._nodes[key] = node
        if len(self._nodes) > self._most_nodes:
            self._nodes.popitem(last=False)

    def places(self, pool_id: str) -> list[Place] | None:
        """Return a pool's places if they are still there."""
        found = self._places.get(pool_id)
        if found is not None:
            self._places.move_to_end(pool_id)
        return found

    def put_places(self, pool_id: str, places: list[Place]) -> None:
        """Put a pool's places on the shelf; those looked at longest ago fall off."""
        self._places[pool_id] = places
        self._places.move_to_end(pool_id)
        total = sum(map(len, self._places.values()))
        while total > self._most_places and len(self._places) > 1:
            total -= len(self._places.popitem(last=False)[1])


class Roster:
    """The nodes of one pool at the fleet's now."""

    def __init__(self, pool: Pool, log: TruthLog | None, shelf: Shelf) -> None:
        """Follow every node if there is a log to tell, else none."""
        self.pool = pool
        self._log = log
        self._shelf = shelf
        self._now = pool.plan.start
        self._nodes: dict[tuple[bool, int], Node] = {}
        self._places_of = -1
        # Unfollowed nodes' states at this moment, as far as they were looked at: 0 unknown.
        self._states = {
            seats.is_dedicated: array("B", bytes(seats.capacity)) for seats in pool.kinds
        }
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
            for is_dedicated, states in self._states.items():
                self._states[is_dedicated] = array("B", bytes(len(states)))
            return
        for key, node in list(self._nodes.items()):
            if node.next_at <= to or node.leaving_at <= to:
                node.advance(to)
                if node.gone_at <= to:
                    del self._nodes[key]
        self._usage.forget(to)

    def places(self) -> list[Place]:
        """Return every node of the pool, sorted by id as the service lists them."""
        places = self._shelf.places(self.pool.id)
        if places is None or self._places_of != self.pool.membership:
            places = sorted(
                (seats.node_id(seat), seats.is_dedicated, seat)
                for seats in self.pool.kinds
                for seat in seats
            )
            self._shelf.put_places(self.pool.id, places)
            self._places_of = self.pool.membership
        return places

    def node(self, place: Place) -> Node:
        """Return a node as it is now."""
        _, is_dedicated, seat = place
        if self._log is not None:
            return self._nodes[is_dedicated, seat]
        key = (self.pool.id, is_dedicated, seat)
        seats = self.pool.dedicated if is_dedicated else self.pool.spot
        node = self._shelf.node(key)
        if node is None or node.allocated_at != seats.allocated_at[seat]:
            node = self._make(seats, seat)
            self._shelf.put_node(key, node)
        elif seat in seats.leaving:
            node.leave(*seats.leaving[seat])
        node.advance(self._now)
        self._states[is_dedicated][seat] = _NUMBER[node.state]
        return node

    def counts(self) -> dict[str, dict[str, int]]:
        """Return nodes by state as PoolNodeCounts has them: dedicated and lowPriority."""
        if self._counts is None:
            kinds = {}
            for name in ("dedicated", "lowPriority"):
                kinds[name] = dict.fromkeys(COUNTER_NAMES.values(), 0) | {"total": 0}
            for seats in self.pool.kinds:
                kind = kinds["dedicated" if seats.is_dedicated else "lowPriority"]
                for seat in seats:
                    kind[COUNTER_NAMES[self._state(seats, seat)]] += 1
                    kind["total"] += 1
            self._counts = kinds
        return self._counts

    def _state(self, seats: Seats, seat: int) -> NodeState:
        if self._log is None and (number := self._states[seats.is_dedicated][seat]):
            return STATES[number - 1]
        return self.node(("", seats.is_dedicated, seat)).state

    def usage(self) -> Usage:
        """Return the pool's machine time until now.

        Followed pools are counted exactly; an unfollowed one as if it had held today's number
        of nodes for the last day.
        """
        usage = self._usage.copy()
        if self._log is None:
            last = self._now // INTERVAL * INTERVAL
            usage.add(last - DAY, last, len(self.pool.dedicated) + len(self.pool.spot))
            return usage
        for node in self._nodes.values():
            if node.state not in UNBILLED:
                usage.add(node.state_since, self._now)
        return usage
