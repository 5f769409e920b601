"""The README of sql/ has every question, check, metric and table, in the words of their headers."""

from __future__ import annotations

from tests.query.documents import README, document


def test_the_readme_has_what_the_headers_say() -> None:
    """Rewrite it with ``python -m tests.query.documents``."""
    text = README.read_text("utf-8")
    assert text.count("<!-- end -->") == 4
    assert document(text) == text
