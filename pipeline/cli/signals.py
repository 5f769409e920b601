"""Ctrl-C and SIGTERM: an exception each, and remembered, since not every library passes it on."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM arrived: ends a run like Ctrl-C, with its ledger row."""


_SENT: list[int] = []
#: Seconds until the exception is raised once more, where it could not be or was ignored.
_SOON = 0.02


def listen() -> None:
    """Lets both signals end the command; Ctrl-C stays ignored where it is, as behind nohup."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
        signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _ignored


def listen_no_more() -> None:
    """Lets both end the process at once, without a word: it has nothing left to do."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for each in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(each) is _stop:
            signal.signal(each, signal.SIG_DFL)


def forget() -> None:
    """Forgets signals of an earlier command of this process."""
    _SENT.clear()


def raise_again() -> None:
    """Raises the exception of a signal that has arrived.

    DuckDB, for one, answers it with a ``RuntimeError`` of its own: Query interrupted.
    """
    if _SENT:
        _raise(_SENT[-1])


def _stop(number: int, frame: FrameType | None) -> None:
    if number != signal.SIGALRM:
        _SENT.append(number)
    if _is_importing(frame):  # cut short, it would leave modules half loaded and locks held
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        raise_again()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _raise(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _ignored(found: sys.UnraisableHookArgs) -> None:
    """Python ignores what is raised while it frees an object: the signal is raised once more."""
    if isinstance(found.exc_value, KeyboardInterrupt | Terminated):
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        sys.__unraisablehook__(found)
