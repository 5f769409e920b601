"""Draws nodes by time as lines of text, one letter for each state; pure.

A letter is the most troubling state of a node within a bin of time; a blank is a node that complete
listings lacked, a dash a time without a listing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from statistics import median

from pipeline.report import palette

#: State -> (letter, SGR colour), the most troubling first: capitals are trouble.
STATES: dict[str, tuple[str, str]] = {
    state: (look.letter, look.terminal) for state, look in palette.STATES.items()
}
OTHER, GAP, ABSENT = palette.OTHER.letter, "-", " "
TROUBLE = "UFKOP"

_RANK = {state: rank for rank, state in enumerate(STATES)}
_COLOURS = dict(STATES.values()) | {OTHER: "1;35", GAP: "90"}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS = (
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * _HOUR for n in (1, 2, 3, 4, 6, 8, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 28, 91, 364)),
)
#: The longest gap between listings over which a state is taken to have lasted, as in history.
_STILL = timedelta(minutes=15)
#: The least columns between two marks of the axis; and the most columns of a bin.
_TICK, _WIDEST = 9, 4


@dataclass(frozen=True)
class Poll:
    """One listing of a pool: its time, and whether it proves absence."""

    account: str
    pool_id: str
    listed_at: datetime
    is_complete: bool


@dataclass(frozen=True)
class Cell:
    """A state that a node was listed in within a bin, and the last listing in it that showed it."""

    account: str
    pool_id: str
    node_id: str
    bin: int
    state: str | None
    last_listed_at: datetime


@dataclass(frozen=True)
class Bins:
    """Equal bins of time with round borders, UTC."""

    start: datetime
    step: timedelta
    count: int

    def of(self, moment: datetime) -> int:
        """The bin of a time."""
        return (moment - self.start) // self.step


@dataclass
class _Pool:
    """A pool's listings by bin, and its nodes' letters."""

    polls: list[Poll]
    rows: dict[str, list[str]] = field(default_factory=dict)


def label_width(columns: int) -> int:
    """The columns for names of nodes in a line of this width."""
    return 14 if columns < 100 else 24


def choose_bins(polls: Sequence[Poll], start: datetime, end: datetime, columns: int) -> Bins:
    """Bins that fit the columns beside the names, none shorter than the time between polls.

    ``end`` is exclusive; ``columns`` is the width of the terminal.
    """
    room = max(columns - label_width(columns) - 1, 10)
    apart = _apart(polls).total_seconds()
    for seconds in _STEPS:
        step = timedelta(seconds=seconds)
        epoch = datetime(2001, 1, 1, tzinfo=UTC)  # a Monday: weeks begin on one
        first = epoch + (start - epoch) // step * step
        count = -((first - end) // step)
        if count <= room and seconds >= apart:
            return Bins(first, step, count)
    count = min(-((start - end) // step), room)
    return Bins(start, (end - start) / count, count)


def _apart(polls: Sequence[Poll]) -> timedelta:
    """The typical time between a pool's listings."""
    gaps = [
        after.listed_at - before.listed_at
        for before, after in pairwise(polls)
        if (before.account, before.pool_id) == (after.account, after.pool_id)
    ]
    return timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if gaps else timedelta()


def chosen(
    cells: Sequence[Cell], fragments: Sequence[str] = (), states: Sequence[str] = ()
) -> list[Cell]:
    """The cells of nodes with one of these fragments in their id that were in one of these states.

    Without fragments, or without states, these do not matter. Capitals do not either.
    """

    def node(cell: Cell) -> tuple[str, str, str]:
        return cell.account, cell.pool_id, cell.node_id

    parts = [part.lower() for part in fragments]
    were = {node(cell) for cell in cells if not states or cell.state in states}
    return [
        cell
        for cell in cells
        if node(cell) in were and (not parts or any(p in cell.node_id.lower() for p in parts))
    ]


def draw(
    polls: Sequence[Poll],
    cells: Iterable[Cell],
    bins: Bins,
    *,
    columns: int = 80,
    lines: int | None = None,
    is_coloured: bool = False,
) -> list[str]:
    """The picture, line by line.

    Args:
        polls: every listing within the bins, sorted by account, pool and time.
        cells: every state of every node and bin, sorted by account, pool and node.
        bins: as ``choose_bins`` made them.
        columns: how wide a line may be.
        lines: how many lines there may be; nodes beyond them are left out, and counted.
        is_coloured: with SGR colours; they add nothing to the letters.
    """
    pools = _pools(polls, cells, bins)
    width = label_width(columns)
    wide = min(max((columns - width - 1) // bins.count, 1), _WIDEST)
    axis = [_title(bins, wide), _axis(bins, width, wide)]
    used = {letter for pool in pools.values() for row in pool.rows.values() for letter in row}
    legend = _legend(used, columns, is_coloured)
    free = None if lines is None else lines - len(axis) - len(legend) - 1
    shares = _shares({key: len(pool.rows) for key, pool in pools.items()}, free)
    has_accounts = len({account for account, _ in pools}) > 1
    body: list[str] = []
    for key, pool in pools.items():
        account, pool_id = key
        name = f"{account} / {pool_id}" if has_accounts else pool_id
        nodes = "1 node" if len(pool.rows) == 1 else f"{len(pool.rows)} nodes"
        body.append(_cut(f"{name} ({nodes})", columns))
        kept = _kept(pool.rows, shares[key])
        names = _labels(kept, width)
        for node_id in kept:
            letters = _coloured(pool.rows[node_id], is_coloured, wide)
            body.append(f"{names[node_id]:<{width}} {letters}".rstrip())
        left_out = [row for node_id, row in pool.rows.items() if node_id not in names]
        if left_out:
            body.append(_cut(_left_out(left_out, bool(kept)), columns))
    return [*axis, *body, *legend]


def _pools(
    polls: Sequence[Poll], cells: Iterable[Cell], bins: Bins
) -> dict[tuple[str, str], _Pool]:
    pools = {
        key: _Pool(list(group))
        for key, group in groupby(polls, lambda poll: (poll.account, poll.pool_id))
    }
    still = max(_STILL, 2 * _apart(polls))
    for key, of_pool in groupby(cells, lambda cell: (cell.account, cell.pool_id)):
        if key not in pools:
            continue
        pool = pools[key]
        background, lasting = _background(pool.polls, bins, still)
        for node_id, of_node in groupby(of_pool, lambda cell: cell.node_id):
            pool.rows[node_id] = _row(list(of_node), background, lasting)
    return pools


def _background(
    polls: Sequence[Poll], bins: Bins, still: timedelta
) -> tuple[list[str], dict[datetime, int]]:
    """What a bin shows of a node that is not there; and for how many bins a listing goes on.

    A bin between two listings that are near each other has no listing of its own, and is no gap:
    what the earlier one showed lasted.
    """
    background, lasting = [GAP] * bins.count, {}
    ends = [*(poll.listed_at for poll in polls[1:]), None]
    for poll, after in zip(polls, ends, strict=True):
        place = bins.of(poll.listed_at)
        until = place + 1
        if after is not None and after - poll.listed_at <= still:
            until = max(until, bins.of(after))
        lasting[poll.listed_at] = until
        if poll.is_complete:
            background[place:until] = [ABSENT] * (until - place)
    return background, lasting


def _row(
    cells: Sequence[Cell], background: Sequence[str], lasting: Mapping[datetime, int]
) -> list[str]:
    row, ranks = list(background), [len(_RANK) + 1] * len(background)

    def put(place: int, state: str | None) -> None:
        rank = _RANK.get(state or "", len(_RANK))
        if rank < ranks[place]:
            row[place], ranks[place] = _letter(state), rank

    for cell in cells:
        put(cell.bin, cell.state)
    own = {cell.bin for cell in cells}
    for cell in cells:
        for place in range(cell.bin + 1, lasting.get(cell.last_listed_at, 0)):
            if place not in own:
                put(place, cell.state)
    return row


def _letter(state: str | None) -> str:
    return STATES[state][0] if state in STATES else OTHER


def _interest(row: Sequence[str]) -> int:
    """The rank of a row: trouble first, then changes."""
    seen = [letter for letter in row if letter != GAP]
    changes = sum(before != after for before, after in pairwise(seen))
    return 3 * sum(letter in TROUBLE + OTHER for letter in row) + 2 * changes


def _kept(rows: Mapping[str, Sequence[str]], share: int) -> list[str]:
    """All nodes by id; or, where there are too many, the most eventful, the most eventful first."""
    if len(rows) <= share:
        return sorted(rows)
    return sorted(rows, key=lambda node_id: (-_interest(rows[node_id]), node_id))[:share]


def _shares(nodes: Mapping[tuple[str, str], int], free: int | None) -> dict[tuple[str, str], int]:
    """How many nodes each pool may show: small pools whole, the others evenly what is left.

    Each pool has a line for its name, and one for what is left out.
    """
    if free is None or sum(nodes.values()) + len(nodes) <= free:
        return dict(nodes)
    shares: dict[tuple[str, str], int] = {}
    left = free - 2 * len(nodes)
    for number, key in enumerate(sorted(nodes, key=lambda key: nodes[key])):
        shares[key] = min(nodes[key], max(1, left // (len(nodes) - number)))
        left -= shares[key]
    return shares


def _left_out(rows: Sequence[Sequence[str]], is_some_kept: bool) -> str:
    """A line about nodes that are not drawn: their number and last states."""
    last = Counter("absent" if row[-1] == ABSENT else row[-1] for row in rows)
    letters = ", ".join(f"{count} {letter}" for letter, count in last.most_common())
    what = "less eventful" if is_some_kept else "nodes"
    return f"… {len(rows)} {what} left out; last letters {letters}"


def _labels(node_ids: Sequence[str], width: int) -> dict[str, str]:
    """Names that fit: their beginning where that is unique, else beginning and end."""
    if all(len(name) <= width for name in node_ids):
        return {name: name for name in node_ids}
    heads = {name: _cut(name, width) for name in node_ids}
    if len(set(heads.values())) == len(node_ids):
        return heads
    head = (width - 1) // 3
    tail = width - 1 - head
    return {
        name: name if len(name) <= width else f"{name[:head]}…{name[-tail:]}" for name in node_ids
    }


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _coloured(row: Sequence[str], is_coloured: bool, wide: int = 1) -> str:
    row = [letter * wide for letter in row]
    if not is_coloured:
        return "".join(row)
    parts = []
    for letter, run in groupby(row):
        text = "".join(run)
        colour = _COLOURS.get(letter[0])
        parts.append(f"\x1b[{colour}m{text}\x1b[0m" if colour else text)
    return "".join(parts)


def _title(bins: Bins, wide: int) -> str:
    end = bins.start + bins.count * bins.step
    scale = "a letter is" if wide == 1 else f"{wide} letters are"
    return f"{bins.start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, {scale} {_span(bins.step)}"


def _span(step: timedelta) -> str:
    for seconds, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        count = step.total_seconds() / seconds
        if count >= 1:
            return f"{count:g} {name}{'' if count == 1 else 's'}"
    return f"{step.total_seconds():g} seconds"


def _axis(bins: Bins, width: int, wide: int) -> str:
    """Marks at round times, each with its time at its right; the first of a day shows the date."""
    seconds = bins.step.total_seconds()
    every = next((each for each in _STEPS if each * wide >= _TICK * seconds), _TICK * seconds)
    line = [" "] * (width + 1 + bins.count * wide)
    day = None
    for place in range(bins.count):
        at = bins.start + place * bins.step
        epoch = datetime(2001, 1, 1, tzinfo=UTC)
        if (at - epoch).total_seconds() % every >= seconds:
            continue
        text = f"|{at:%H:%M}" if every < _DAY and at.date() == day else f"|{at:%m-%d}"
        if every < _DAY and day is None and (at.hour or at.minute):
            text = f"|{at:%H:%M}"
        day = at.date()
        begin = width + 1 + place * wide
        if begin + len(text) <= len(line):
            line[begin : begin + len(text)] = text
        else:
            line[begin] = "|"
    return "".join(line).rstrip()


def _legend(used: set[str], columns: int, is_coloured: bool) -> list[str]:
    """The meaning of the letters that were drawn, in lines of the width."""
    entries = [(letter, f"{letter} {state}") for state, (letter, _) in STATES.items()]
    entries += [(OTHER, f"{OTHER} some other state"), (GAP, f"{GAP} no listing")]
    entries.append((ABSENT, "(blank) not in the pool"))
    lines: list[list[tuple[str, str]]] = [[]]
    length = 0
    for letter, text in entries:
        if letter not in used:
            continue
        if length + len(text) > columns and lines[-1]:
            lines.append([])
            length = 0
        lines[-1].append((letter, text))
        length += len(text) + 2
    return ["  ".join(_entry(letter, text, is_coloured) for letter, text in line) for line in lines]


def _entry(letter: str, text: str, is_coloured: bool) -> str:
    if letter == ABSENT:
        return text
    return _coloured([letter], is_coloured) + text[1:]
