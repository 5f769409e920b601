"""The page itself: one HTML file with its style inside, no script, and nothing to fetch."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipeline import __version__
from pipeline.report import figures, palette, parts
from pipeline.report.gather import Findings
from pipeline.report.picture import Key
from pipeline.report.standing_out import standing_out
from pipeline.report.text import duration, listed, moment, plain

if TYPE_CHECKING:
    import pyarrow as pa

_HERE = Path(__file__).parent
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",sans-serif'
_THEMES = {
    "light": {
        "paper": "#ffffff",
        "ink": "#1b1f24",
        "muted": "#5c6670",
        "line": "#e3e6e8",
        "grid": "#e3e6e8",
        "link": "#1f5c9c",
        "use": "#2c6cb0",
        "failed": "#a8123c",
        "partial": "#dd5427",
        "hatch-ground": "#f3f4f5",
        "hatch-line": "#c3c8cd",
        "other": palette.OTHER.light,
        # commoner is darker
        **{
            f"cause{place}": shade
            for place, shade in enumerate(
                ("#8f2c10", "#c2441b", "#e56f3f", "#f09a72", "#f6c0a5", "#c9c4bf")
            )
        },
    },
    "dark": {
        "paper": "#15181c",
        "ink": "#e8eaed",
        "muted": "#9aa4ad",
        "line": "#2c3238",
        "grid": "#2c3238",
        "link": "#8ab8ea",
        "use": "#5795d6",
        "failed": "#e5386b",
        "partial": "#f4774a",
        "hatch-ground": "#1d2126",
        "hatch-line": "#454d55",
        "other": palette.OTHER.dark,
        **{
            f"cause{place}": shade
            for place, shade in enumerate(
                ("#ff9f7a", "#f4774a", "#c9562c", "#9a4324", "#6d3420", "#5b5751")
            )
        },
    },
}


def style() -> str:
    """The style sheet: colours of both themes, a class for each, and the page's own rules."""
    rules = []
    for theme, inks in _THEMES.items():
        looks = {
            state: look.light if theme == "light" else look.dark
            for state, look in palette.STATES.items()
        }
        values = "".join(f"--{name}:{value};" for name, value in {**inks, **looks}.items())
        root = f":root{{color-scheme:{theme};--font:{_FONT};{values}}}"
        # paper is light
        rules.append(
            root if theme == "light" else f"@media screen and (prefers-color-scheme:dark){{{root}}}"
        )
    for name in (*_THEMES["light"], *palette.STATES):
        rules.append(f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}")
    rules += [f".t-{state}{{--mark:var(--{state})}}" for state in palette.STATES]
    return "\n".join([*rules, (_HERE / "page.css").read_text("utf-8")])


def render(found: Findings, prices: pa.Table | None = None, made: datetime | None = None) -> str:
    """The report as HTML.

    Args:
        found: as gathered.
        prices: of ``pipeline.query.prices``: with them, hours are money too.
        made: when, told on top; by default now.
    """
    import jinja2

    looks = style()
    digest = base64.b64encode(hashlib.sha256(looks.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    span = found.span
    parameters = {"from": f"{span.start:%Y-%m-%dT%H:%MZ}", "to": f"{span.end:%Y-%m-%dT%H:%MZ}"}
    if found.pool:
        parameters["pool"] = found.pool
    return environment.get_template("page.html").render(
        style=Markup(looks),  # noqa: S704 - our own, without a word of the service
        style_hash=digest,
        version=__version__,
        title=listed(plain(account) for account in found.accounts),
        range=f"{moment(span.start)} to {moment(span.end)}",
        length=duration(span.end - span.start),
        pool=found.pool,
        lake=found.lake,
        made=moment(made or datetime.now(UTC)),
        tiles=figures.tiles(found, prices),
        standing_out=standing_out(found),
        watched=figures.watched(found),
        legend=_legend(found),
        parts=parts.parts(found, prices, parameters),
    )


def _legend(found: Findings) -> list[dict[str, object]]:
    """The states that are drawn somewhere, by group."""
    drawn = {state for each in found.fleet for state, nodes in (each.states or {}).items() if nodes}
    drawn |= {row["state"] for row in found.cells}
    groups: list[dict[str, object]] = []
    for group in palette.GROUPS:
        states = [s for s in palette.stacked() if palette.STATES[s].group == group and s in drawn]
        keys = [Key(state, state) for state in states]
        if group == "trouble" and drawn - palette.STATES.keys():
            keys.append(Key("other", "another state, or malformed"))
        if keys:
            groups.append({"name": group, "states": keys})
    groups.append({"name": "", "states": [Key("gap", "not watched")]})
    return groups
