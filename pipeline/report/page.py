"""Renders the page: one HTML file with style and script inside."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipeline import __version__
from pipeline.report import explorer, figures, palette, parts
from pipeline.report.findings import Findings
from pipeline.report.picture import Key
from pipeline.report.standing_out import standing_out
from pipeline.report.text import duration, listed, moment, plain

if TYPE_CHECKING:
    import polars as pl

_HERE = Path(__file__).parent
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",sans-serif'
#: The most bytes of a page; stories of nodes get what pictures and tables leave.
_MOST_BYTES = 4_700_000
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
        "chosen": "#dce9f7",
        "field": "#8a939b",
        "other": palette.OTHER.light,
        # distinct for the colour-blind, after Okabe and Ito; the last is for other causes
        **{
            f"cause{place}": shade
            for place, shade in enumerate(
                ("#a8420a", "#0072b2", "#1f9173", "#d98cc0", "#e6a700", "#3c3c3c")
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
        "chosen": "#223447",
        "field": "#6b757e",
        "other": palette.OTHER.dark,
        **{
            f"cause{place}": shade
            for place, shade in enumerate(
                ("#f0803c", "#2f7fd0", "#a0f0d8", "#e09ac4", "#f0dd5a", "#707070")
            )
        },
    },
}


def inks(theme: str) -> dict[str, str]:
    """The colours of a theme, ``light`` or ``dark``, by name: the page's own, and the states'."""
    looks = {
        state: look.light if theme == "light" else look.dark
        for state, look in palette.STATES.items()
    }
    return {**_THEMES[theme], **looks}


def style() -> str:
    """The style sheet: colours of both themes, a class for each, and the page's own rules."""
    rules = []
    for theme in _THEMES:
        values = "".join(f"--{name}:{value};" for name, value in inks(theme).items())
        root = f":root{{color-scheme:{theme};--font:{_FONT};{values}}}"
        # paper is light
        rules.append(
            root if theme == "light" else f"@media screen and (prefers-color-scheme:dark){{{root}}}"
        )
    for name in (*_THEMES["light"], *palette.STATES):
        rules.append(f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}")
    rules += [f".t-{state}{{--mark:var(--{state})}}" for state in palette.STATES]
    return "\n".join([*rules, (_HERE / "page.css").read_text("utf-8")])


def script() -> str:
    """The script: its files as one function, without globals."""
    parts = [(_HERE / f"{name}.js").read_text("utf-8") for name in ("words", "panel", "page")]
    return "'use strict';\n(() => {\n" + "\n".join(parts) + "})();\n"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def render(
    found: Findings, prices: pl.DataFrame | None = None, made: datetime | None = None
) -> str:
    """The report as HTML.

    Args:
        found: as gathered.
        prices: of ``pipeline.query.prices``: with them, the page shows costs.
        made: when, shown on top; by default now.
    """
    import jinja2

    looks, code = style(), script()
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
    page = environment.get_template("page.html").render(
        style=Markup(looks),  # noqa: S704 - our own, without a word of the service
        style_hash=_digest(looks),
        script=Markup(code),  # noqa: S704 - our own too
        script_hash=_digest(code),
        version=__version__,
        title=listed(plain(account) for account in found.accounts),
        range=f"{moment(span.start)} to {moment(span.end)}",
        length=duration(span.end - span.start),
        pool=found.pool,
        lake=found.lake,
        made=moment(made or datetime.now(UTC)),
        tiles=figures.tiles(found, prices),
        standing_out=standing_out(found),
        anchor=explorer.anchor,
        watched=figures.watched(found),
        legend=_legend(found),
        parts=parts.parts(found, prices, parameters),
    )
    # no text of the service can be this: in a page its letters are escaped
    before, mark, after = page.partition('<script type="application/json" id="data">')
    return before + mark + explorer.embedded(found, _MOST_BYTES - len(page.encode())) + after


def _legend(found: Findings) -> list[dict[str, object]]:
    """The states in the pictures, by group."""
    drawn = {state for each in found.fleet for state, nodes in (each.states or {}).items() if nodes}
    drawn |= {*found.cells["state"].unique()} - {"unobserved"}
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
