"""The reason why a listing ended early, for the ledger and the log."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.extract import ExtractError, Page
from pipeline.flatten.pages import BadPage
from pipeline.redact import redact_text


class Failure(NamedTuple):
    """Why a listing ended early: the columns error_code, error_message, request_id."""

    code: str
    message: str
    request_id: str | None

    @classmethod
    def of(cls, error: ExtractError | BadPage) -> Failure:
        """The failure for an error."""
        if isinstance(error, ExtractError):
            return cls(error.code, error.message, error.request_id)
        return cls("BadPage", redact_text(str(error)), None)


def check_link(page: Page, next_link: str | None) -> None:
    """Raises BadPage unless both readings of the next link agree: a page could be lost silently."""
    if (page.next_link or None) != (next_link or None):
        raise BadPage("its odata.nextLink reads differently the second time")
