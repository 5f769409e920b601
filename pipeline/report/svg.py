"""Altair charts as SVG that stands in the page: no script, no colour of its own, nothing to fetch.

Colours are classes, so that the page's theme colours the pictures; each mark's description becomes a
``<title>``, which browsers show as a tooltip. Only tags and attributes that are named here pass.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

from pipeline.report import palette

if TYPE_CHECKING:
    import altair as alt

#: The colours of the page that pictures may use, beside the states'.
INKS = (
    *palette.STATES,
    "other",
    "ink",
    "muted",
    "grid",
    "gap",
    "partial",
    "hover",
    "failed",
    "use",
    *(f"cause{n}" for n in range(6)),
)
# Vega passes colours through as they are: each stands for a class of the page.
_COLOURS = {name: f"#0a{number:04x}" for number, name in enumerate(INKS)}
_NAMES = {colour: name for name, colour in _COLOURS.items()}
#: A number to more than a hundredth of a pixel.
_LONG = re.compile(r"-?\d*\.\d{3,}")
_SVG = "{http://www.w3.org/2000/svg}"
_TAGS = frozenset({"svg", "g", "path", "rect", "line", "text", "tspan"})
_KEPT = frozenset(
    "d x y x1 y1 x2 y2 dx dy width height transform opacity fill-opacity stroke-width "
    "stroke-dasharray text-anchor font-size font-weight".split()
)


def colour(name: str) -> str:
    """What a chart takes for a colour of the page: a state's, or another of ``INKS``."""
    return _COLOURS[name if name in _COLOURS else "other"]


def draw(chart: alt.Chart | alt.LayerChart, label: str, *, has_titles: bool = True) -> Markup:
    """The chart as an SVG element; ``label`` describes it to a screen reader.

    ``has_titles``: whether marks have tooltips.
    """
    import vl_convert

    text = vl_convert.vegalite_to_svg(
        json.dumps(chart.to_dict(validate=False)), allowed_base_urls=[]
    )
    root = ElementTree.fromstring(text)  # noqa: S314 - vl-convert's own output, without a DTD
    _, _, width, height = root.attrib["viewBox"].split()
    clean = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": label}
    )
    _copy_into(clean, root, has_titles)
    return Markup(ElementTree.tostring(clean, encoding="unicode"))  # noqa: S704 - of named parts


def _copy_into(target: ElementTree.Element, source: ElementTree.Element, has_titles: bool) -> None:
    for child in source:
        tag = child.tag.removeprefix(_SVG)
        if tag not in _TAGS or child.get("display") == "none" or _is_nothing(child, tag):
            continue
        made = ElementTree.SubElement(target, tag, _attributes(child))
        made.text = child.text
        # a group has a description too, of what kind of mark it holds
        title = child.get("aria-label") if has_titles and tag in ("path", "rect", "text") else None
        if title:
            ElementTree.SubElement(made, "title").text = title
        _copy_into(made, child, has_titles)
        if tag == "g" and not len(made):
            target.remove(made)


def _shorter(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _is_nothing(child: ElementTree.Element, tag: str) -> bool:
    """Backgrounds: of the page, and of groups."""
    if tag == "rect":
        return child.get("fill") == "white"
    return tag == "path" and child.get("class") == "background"


def _attributes(child: ElementTree.Element) -> dict[str, str]:
    kept = {
        name: _LONG.sub(_shorter, value) for name, value in child.attrib.items() if name in _KEPT
    }
    classes = [
        f"{prefix}-{_NAMES[value]}"
        for prefix, value in (("f", child.get("fill")), ("s", child.get("stroke")))
        if value in _NAMES
    ]
    if "role-mark" in (child.get("class") or ""):
        classes.append("mark")
    if child.tag == f"{_SVG}g" and child.get("fill") == "none":
        kept["fill"] = "none"
    if classes:
        kept["class"] = " ".join(classes)
    if kept.get("opacity") == "1":
        del kept["opacity"]
    return kept
