"""Output on stderr: messages for a person, JSON lines for a log collector, progress; no secrets."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.snapshot.progress import ProgressListener

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: Said after a signal, which may have stopped the import of numpy halfway: nothing can redact then.
_OWN_WORDS = ("interrupted", "terminated")


def escape(text: str) -> str:
    """Text with visible control characters: the service must not control a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def say(message: str) -> None:
    """Logs one error: a plain line on a terminal, else a JSON line."""
    logging.getLogger("nodelake").error("%s", message)


def show_usage(text: str) -> None:
    """Prints the synopsis of a command to stderr, a terminal."""
    sys.stderr.write("\n".join(escape(line) for line in text.split("\n")) + "\n")


def is_watched() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def set_up_logging(verbose: bool) -> None:
    """Sends the log to stderr: plain lines on a terminal, JSON lines without one."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # as stderr does: a locale other than UTF-8 must not abort an answer
        sys.stdout.reconfigure(errors="backslashreplace")
    logger = logging.getLogger("nodelake")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain() if is_watched() else _JsonLines())
    logger.handlers = [handler]
    # at INFO httpx logs every URL, and azure-identity 15 lines for each failed sign-in
    for name, level in (("httpx", "WARNING"), ("httpcore", "WARNING"), ("azure", "ERROR")):
        logging.getLogger(name).setLevel(level)


def _clean(text: str) -> str:
    if text in _OWN_WORDS:
        return text
    from pipeline.redact import redact_text

    return redact_text(text)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        lines = _clean(record.getMessage()).split("\n")
        text = "\n".join(escape(line) for line in lines)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        return text


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "at": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and value is not None:
                line[name] = _clean(value) if isinstance(value, str) else value
        if record.exc_info:
            line["traceback"] = _clean(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


@contextmanager
def progress(title: str) -> Iterator[ProgressListener | None]:
    """A progress bar of pools with a count of nodes, on a terminal only."""
    if not is_watched():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} pools, {task.fields[nodes]} nodes"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        yield _Bar(bar, bar.add_task(escape(title), total=None, nodes=0))


class _Bar:
    """Updates a progress bar of rich; thread-safe, as rich is."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task
        self._nodes = 0

    def pools_listed(self, pools: int) -> None:
        self._bar.update(self._task, total=pools)

    def nodes_read(self, pool_id: str, nodes: int) -> None:
        self._nodes += nodes
        self._bar.update(self._task, nodes=self._nodes)

    def pool_done(self, pool_id: str, listing: str) -> None:
        self._bar.advance(self._task)
