"""What the numbers of the made-up year read as: Arrow columns of ids, names and moments."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from tests.bench.year_truth import DAY, MINUTE, SECOND, SIZES, Columns, Ints, Lives, take

Mask = npt.NDArray[np.bool_]
#: How long a completed task stays in recentTasks.
RECENT = 30 * MINUTE
SLOTS = 4


def first_poll(at: Ints, offset: Ints, tick: int) -> Ints:
    """The first poll at or after each moment."""
    return -((offset - at) // tick)


def offsets(pools: Ints) -> Ints:
    """When a poll lists each pool: microseconds after it began."""
    return SECOND + pools * 50_000


@dataclass(frozen=True)
class Seen:
    """Rows of the truth that some poll of a window showed: ``first`` to ``last``, its polls of it."""

    rows: Columns
    first: Ints
    last: Ints

    def take(self, chosen: npt.NDArray[np.generic]) -> Seen:
        """Some of the rows."""
        return Seen(take(self.rows, chosen), self.first[chosen], self.last[chosen])


class Texts:
    """What numbers of the truth read as, in dictionaries."""

    def __init__(self, lives: Lives) -> None:
        shape = lives.shape
        self.lives = lives
        pools = np.arange(shape.pools)
        self.offset = offsets(lives.pool)
        self.pool = [f"pool-{number:03}" for number in pools]
        self.size = [SIZES[number % len(SIZES)] for number in pools]
        self.spot = shape.is_spot(lives.pool)
        self.image = (lives.a // DAY + 1000) // 21
        self.node = pa.array(lives.node_id, pa.string())

    def pools(self, pool: Ints) -> pa.Array:
        """Ids of pools."""
        return named(self.pool, pool)

    def sizes(self, pool: Ints) -> pa.Array:
        """Sizes of pools' machines."""
        return named(self.size, pool)

    def columns(self, life: Ints) -> dict[str, Any]:
        """The columns that are a life's own, by name, for these lives."""
        lives, pool = self.lives, self.lives.pool[life]
        images = np.arange(int(self.image.max(initial=0)) + 1)
        return {
            "account": same(lives.shape.account, len(life)),
            "pool_id": self.pools(pool),
            "node_id": self.node.take(pa.array(life)),
            "allocation_time": self.time(lives.a[life]),
            "vm_size": self.sizes(pool),
            "is_dedicated": pa.array(~self.spot[life]),
            "image_publisher": same("canonical", len(life)),
            "image_offer": same("ubuntu-24_04-lts", len(life)),
            "image_sku": same("server", len(life)),
            "image_exact_version": named(
                [f"24.04.{20250000 + n}" for n in images], self.image[life]
            ),
        }

    def time(self, at: Ints, is_told: Mask | None = None) -> pa.Array:
        """Moments of the truth as timestamps; null where unknown."""
        moments = at + self.lives.shape.epoch
        null = None if is_told is None else ~is_told
        return pa.array(moments, pa.int64(), mask=null).cast(schema.TIME)

    def listed_at(self, poll: Ints, life: Ints) -> Ints:
        """When a poll listed the pool of a life."""
        return poll * self.lives.shape.tick + self.offset[life]


def numbers(values: Ints, is_told: Mask | None = None) -> pa.Array:
    """Integers; null where unknown."""
    return pa.array(values, pa.int32(), mask=None if is_told is None else ~is_told)


def same(text: str, count: int) -> pa.Array:
    """One text, so many times."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text])


def named(texts: list[str], places: Ints, is_told: Mask | None = None) -> pa.Array:
    """Texts by their places in a list; null where unknown."""
    null = None if is_told is None else ~is_told
    return pa.DictionaryArray.from_arrays(
        pa.array(places, pa.int32(), mask=null), pa.array(texts, pa.string())
    )


def hashes(kind: str, places: Ints) -> pa.Array:
    """Hexadecimal names for numbers."""
    found, inverse = np.unique(places, return_inverse=True)
    texts = [hashlib.sha256(f"{kind} {n}".encode()).hexdigest() for n in found.tolist()]
    return named(texts, inverse)
