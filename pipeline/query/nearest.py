"""The known names nearest to one that is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], most: int = 5) -> list[str]:
    """The known names that are similar to a name or share a part with it, nearest first."""
    names = {each.lower(): each for each in known}
    text = name.lower().replace("-", "_")
    alike = difflib.get_close_matches(text, names, n=most, cutoff=0.6)
    parts = [part for part in text.split("_") if len(part) > 2]
    within = [each for each in names if text and text in each]
    sharing = [each for each in names if any(part in each.split("_") for part in parts)]
    found = dict.fromkeys([*alike, *within, *sharing])
    return [names[each] for each in found][:most]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean a, b?`` where known names are near, else an empty text."""
    near = nearest(name, known)
    return f"; did you mean {', '.join(near)}?" if near else ""
