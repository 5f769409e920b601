"""The nodes of a pool: all simulated as time moves, or each computed on demand.

The truth log needs the first; with the second a million nodes fit into memory.
"""

from array import array
from collections import OrderedDict

from ..states import COUNTER_NAMES, STATES, UNBILLED, NodeState
from ..times import DAY, HOUR, MINUTE
from ..truth import TruthLog
from .lifecycle import lifecycle
from .nodes import Node
from .pools import Pool, Seats
from .usage import INTERVAL, Usage

WARM_UP = 2 * HOUR  # how long before the fleet's start the simulation of a node begins
_SHORT_WARM_UP = 40 * MINUTE
_NUMBER = {state: number for number, state in enumerate(STATES, start=1)}

Entry = tuple[str, bool, int]  # node id, is dedicated, seat


class NodeCache:
    """Recently computed nodes of pools that are not simulated, bounded for the whole fleet.

    A node takes some 8 kB, a pool's list of entries some 200 bytes a node.
    """

    def __init__(self, most_nodes: int = 8_000, most_entries: int = 100_000) -> None:
        """Cache at most this many nodes, and entries of pools with at most that many nodes."""
        self._most_nodes = most_nodes
        self._most_entries = most_entries
        self._nodes: OrderedDict[tuple[str, bool, int], Node] = OrderedDict()
        self._entries: OrderedDict[str, list[Entry]] = OrderedDict()

    def node(self, key: tuple[str, bool, int]) -> Node | None:
        """Return a cached node, None if there is none."""
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.move_to_end(key)
        return node

    def put_node(self, key: tuple[str, bool, int], node: Node) -> None:
        """Cache a node; the least recently used one is dropped."""
        self._nodes[key] = node
        if len(self._nodes) > self._most_nodes:
            self._nodes.popitem(last=False)

    def entries(self, pool_id: str) -> list[Entry] | None:
        """Return a pool's cached entries, None if there are none."""
        found = self._entries.get(pool_id)
        if found is not None:
            self._entries.move_to_end(pool_id)
        return found

    def put_entries(self, pool_id: str, entries: list[Entry]) -> None:
        """Cache a pool's entries; the least recently used are dropped."""
        self._entries[pool_id] = entries
        self._entries.move_to_end(pool_id)
        total = sum(map(len, self._entries.values()))
        while total > self._most_entries and len(self._entries) > 1:
            total -= len(self._entries.popitem(last=False)[1])


class Roster:
    """The nodes of one pool at the fleet's now."""

    def __init__(self, pool: Pool, log: TruthLog | None, cache: NodeCache) -> None:
        """Simulate every node if there is a log, else none."""
        self.pool = pool
        self._log = log
        self._cache = cache
        self._now = pool.plan.start
        self._nodes: dict[tuple[bool, int], Node] = {}
        self._entries_of = -1
        # States of nodes that are not simulated, where known: 0 is unknown.
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
        node.life = lifecycle(node, settled_at)
        node.next_at = allocated_at if settled_at is None else settled_at
        if seat in seats.leaving:
            node.leave(*seats.leaving[seat])
        return node

    def _join(self, seats: Seats, seat: int) -> None:
        before = self._nodes.pop((seats.is_dedicated, seat), None)
        if before is not None:  # it left and another took its seat within one step
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
        self._usage.drop_before(to)

    def entries(self) -> list[Entry]:
        """Return every node of the pool, sorted by id as the service lists them."""
        entries = self._cache.entries(self.pool.id)
        if entries is None or self._entries_of != self.pool.membership:
            entries = sorted(
                (seats.node_id(seat), seats.is_dedicated, seat)
                for seats in self.pool.kinds
                for seat in seats
            )
            self._cache.put_entries(self.pool.id, entries)
            self._entries_of = self.pool.membership
        return entries

    def node(self, entry: Entry) -> Node:
        """Return a node as it is now."""
        _, is_dedicated, seat = entry
        if self._log is not None:
            return self._nodes[is_dedicated, seat]
        key = (self.pool.id, is_dedicated, seat)
        seats = self.pool.dedicated if is_dedicated else self.pool.spot
        node = self._cache.node(key)
        if node is None or node.allocated_at != seats.allocated_at[seat]:
            node = self._make(seats, seat)
            self._cache.put_node(key, node)
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

        Simulated pools are counted exactly; for others the present number of nodes is taken
        for the whole last day.
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
