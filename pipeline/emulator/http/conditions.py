"""Conditional headers: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since."""

from email.utils import parsedate_to_datetime

from .replies import BatchError, Headers
from .requests import Request


def check_conditions(
    request: Request, etag: str, modified: int, headers: Headers, *, by_tag: bool = True
) -> None:
    """Raise 412 or 304 unless the conditional headers hold; times are compared in whole seconds.

    ``by_tag`` is false for files, which take only conditions by time.
    """
    second = modified // 1_000_000
    matches = request.headers.get("if-match") if by_tag else None
    if matches is not None and not _has_tag(matches, etag):
        raise BatchError("ConditionNotMet")
    unmodified = _header_time(request, "if-unmodified-since")
    if unmodified is not None and second > unmodified:
        raise BatchError("ConditionNotMet")
    other = request.headers.get("if-none-match") if by_tag else None
    if other is not None and _has_tag(other, etag):
        raise BatchError("ConditionNotMet", status=304, headers=headers)
    since = _header_time(request, "if-modified-since")
    if other is None and since is not None and second <= since:
        raise BatchError("ConditionNotMet", status=304, headers=headers)


def _has_tag(text: str, etag: str) -> bool:
    return any(tag.strip().strip('"') in ("*", etag) for tag in text.split(","))


def _header_time(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except ValueError:
        header = ("HeaderName", name), ("HeaderValue", text)
        raise BatchError("InvalidHeaderValue", *header) from None
