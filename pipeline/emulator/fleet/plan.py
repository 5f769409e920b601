"""The plan of a pool, independent of its nodes: releases, storms, waves, multi-instance tasks.

Everything here is a pure function of the fleet file, the seed and the time, so a node can be
followed on its own, in any steps, and come out the same.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..config import Image, PoolConfig
from ..streams import stream
from ..times import DAY, HOUR, MINUTE, NEVER
from .images import CATALOGUE
from .profiles import Profile, profiles

_PROFILES = profiles()


class PoolPlan:
    """The part of one pool that does not depend on its nodes. All times are microseconds since 1970."""

    def __init__(
        self,
        config: PoolConfig,
        seed: int,
        start: int,
        region: str,
        images: Sequence[Image] = CATALOGUE,
    ) -> None:
        """Work out the plan of a pool of a fleet that starts at ``start``.

        ``images`` are those that the pool's key ``image`` may name.
        """
        self.config = config
        self.seed = seed
        self.start = start
        self.region = region
        self.profile: Profile = _PROFILES[config.profile]
        self.image: Image | None = None
        if config.image is not None:
            self.image = next((i for i in images if i.name == config.image), None)
            if self.image is None:
                raise ValueError(f"pool {config.id!r}: key 'image': no such image: {config.image}")
        self.created_at = start + int(config.create_after_hours * HOUR)
        self.work_slots = max(1, config.task_slots // max(1, config.work.slots_per_task))
        self.cores = cores(config.vm_size)
        self.is_mainly_dedicated = config.seats[0] >= config.seats[1]
        self._changes = self._times(config.start_task.changes_after_hours)
        self._agent_releases = self._times(config.agent_releases_after_hours)
        self._image_releases = self._times(config.image_releases_after_hours)
        self._storms = sorted(
            (start + int(s.after_hours * HOUR), start + int((s.after_hours + s.hours) * HOUR), s)
            for s in config.storms
        )
        self._renewal = max(HOUR, int(config.start_task.sas_renewal_hours * HOUR))
        self._start_tasks: dict[tuple[int, int], dict[str, Any]] = {}

    def _times(self, after_hours: tuple[float, ...]) -> list[int]:
        return sorted(self.start + int(hours * HOUR) for hours in after_hours)

    def start_task_key(self, at: int) -> tuple[int, int]:
        """Return which start task a node gets that boots now: (revision, when its SAS ends)."""
        renewals = (at - self.start) // self._renewal
        return bisect_right(self._changes, at), self.start + (renewals + 2) * self._renewal

    def start_task(self, key: tuple[int, int]) -> dict[str, Any]:
        """Return a start task's JSON by its key; the same object each time."""
        found = self._start_tasks.get(key)
        if found is None:
            found = self.profile.start_task(self.config.id, *key)
            settings = self.config.start_task
            found["maxTaskRetryCount"] = settings.retry_limit
            found["waitForSuccess"] = settings.wait_for_success
            if len(self._start_tasks) > 64:  # a fleet that runs for months renews its links
                self._start_tasks.clear()
            self._start_tasks[key] = found
        return found

    def start_task_failure_rate(self, at: int) -> float:
        """Return the probability that a start task that begins now fails."""
        for begins, ends, storm in self._storms:
            if begins <= at < ends:
                return storm.failure_rate
        return self.config.start_task.failure_rate

    def next_storm(self, after: int) -> tuple[int, float]:
        """Return (begin, share of nodes that reboot into it) of the next storm."""
        for begins, _, storm in self._storms:
            if begins > after:
                return begins, storm.reboot_share
        return NEVER, 0.0

    def agent_version(self, at: int) -> str:
        """Return the newest node-agent version released by now."""
        return f"1.12.{7 + bisect_right(self._agent_releases, at)}"

    def image_release(self, at: int) -> int:
        """Return the number of the newest image released by now."""
        return bisect_right(self._image_releases, at)

    def image_reference(self, release: int) -> dict[str, Any]:
        """Return the imageReference of a node that was made from this release of the image."""
        if self.image is None:
            return self.profile.image(release)
        image = self.image
        names = {"publisher": image.publisher, "offer": image.offer, "sku": image.sku}
        exact = f"1.{1 + release}.20261001"
        return {**names, "version": "latest", "exactVersion": exact}

    def vm_size(self, seat: int) -> str:
        """Return the VM size of a seat: a pool may mix sizes."""
        mix = self.config.vm_size_mix
        return mix[seat % len(mix)] if mix else self.config.vm_size

    def next_wave(self, after: int) -> int:
        """Return the time of the next preemption wave; NEVER if there is none."""
        hours = self.config.preemption_wave_hours
        midnight = after // DAY * DAY
        times = (midnight + d * DAY + int(h * HOUR) for h in hours for d in (0, 1))
        return min((t for t in times if t > after), default=NEVER)

    def next_gang(self, after: int) -> int:
        """Return when the next multi-instance task starts; NEVER if there is none."""
        period = int(self.config.work.gang_every_hours * HOUR)
        return (after // period + 1) * period if period else NEVER

    def gang_duration(self, at: int) -> int:
        """Return how long the multi-instance task that starts at ``at`` runs."""
        share = stream(self.seed, self.config.id, "gang", at).uniform(0.5, 1.5)
        return int(share * self.config.work.gang_minutes * MINUTE)

    def defect(self, is_dedicated: bool, seat: int) -> str | None:
        """Return how the node in this seat misbehaves all its life, if it does.

        Faulty nodes have the lowest seats of the pool's main kind: a pool that shrinks keeps
        them.
        """
        if is_dedicated != self.is_mainly_dedicated:
            return None
        counts = self.config.faulty_nodes
        for name, count in (
            ("black_hole", counts.black_hole),
            ("flapping", counts.flapping),
            ("stuck", counts.stuck),
        ):  # fmt: skip
            if seat < count:
                return name
            seat -= count
        return None


def cores(vm_size: str) -> int:
    """Return the cores of a VM size, read from its name as Azure builds it; 1 where it has none.

    ``standard_d8s_v5`` has 8, ``standard_nc24ads_a100_v4`` has 24.
    """
    found = re.match(r"(?i)(?:standard|basic)_[a-z]+(\d+)", vm_size)
    return int(found.group(1)) if found else 1
