"""Finds missing files that a ledger file or manifest names, and facts that history lacks."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from typing import Literal

from pipeline.lake.manifest import Manifest, Versioned, fact_versions
from pipeline.lake.paths import compacted_key, end_of, history_key, manifest_key, watermark_key
from pipeline.lake.watermark import Watermark
from pipeline.schema.facts import AccountDay
from pipeline.storage import Entry

#: The longest gap between two listings, in days, over which history is built.
GAP = 31

Reason = Literal["newer fact", "older version"]
MissingFact = tuple[str, date, str, Reason]
"""An account, a day without rows, and a fact that its history lacks, or has of an older version."""


def missing_keys(
    manifests: Mapping[AccountDay, Versioned],
    every_day: Collection[AccountDay],
    built: Mapping[str, Entry],
    ledgers: Collection[str],
    closed: Collection[AccountDay],
    watermarks: Mapping[str, Watermark],
) -> dict[str, list[str]]:
    """The keys of missing files by table or fact: of history that cannot be rebuilt, and of ledgers.

    Args:
        manifests: those that did not change meanwhile.
        every_day: the days of all existing manifests.
        built: the existing files of facts.
        ledgers: keys of the existing committed ledger files.
        closed: their days.
        watermarks: by account.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for m, _ in manifests.values():
        is_expired = m.account in watermarks and watermarks[m.account].has_expired(m.date)
        if m.is_final or is_expired:
            for fact, key in absent(m, built).items():
                found[fact].append(key)
        if m.is_final and m.account not in watermarks:
            found["snapshots"].append(watermark_key(m.account))
        for stem in m.own if not is_expired else ():
            if (key := compacted_key("snapshots", m.date, stem)) not in ledgers:
                found["snapshots"].append(key)
    found["manifests"] = [manifest_key(d, who) for who, d in _holes(closed, every_day, watermarks)]
    return found


def absent(manifest: Manifest, built: Mapping[str, Entry]) -> dict[str, str]:
    """The keys of a manifest's facts that are missing, or have other bytes than it says."""
    keys = {fact: history_key(fact, manifest.date, manifest.account) for fact in manifest.files}
    return {
        fact: key
        for fact, key in keys.items()
        if key not in built or built[key].size != manifest.files[fact]
    }


def missing_facts(manifests: Collection[Manifest]) -> Iterator[MissingFact]:
    """Facts that are missing, or of an older version, for days whose rows have expired."""
    for m in manifests:
        for fact, version in fact_versions().items():
            if m.facts.get(fact) != version:
                yield *m.whose, fact, "older version" if fact in m.facts else "newer fact"


def _holes(
    closed: Collection[AccountDay],
    manifests: Collection[AccountDay],
    watermarks: Mapping[str, Watermark],
) -> Iterator[AccountDay]:
    """Expired days whose manifest has been lost."""
    for (account, day), (other, later) in itertools.pairwise(sorted(manifests)):
        if account == other and 1 < (later - day).days <= GAP and account in watermarks:
            days = (day + timedelta(number) for number in range(1, (later - day).days))
            yield from ((account, d) for d in days if watermarks[account].has_expired(d))
    for account, day in closed:
        if (account, day) not in manifests and account in watermarks:
            yield from [(account, day)] if watermarks[account].is_final(end_of(day)) else []
