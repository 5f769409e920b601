"""Processes that begin with their imports done: for tests that start many, and kill them at work."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pipeline.cli", "tests.chaos", "tests.writers"])


def start(
    target: Callable[..., object], *arguments: object, settings: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Calls a function of a module in a process of its own, under this environment and settings.

    It says nothing; ``kill()``, ``join()`` and ``exitcode`` say how it ended.
    """
    environ = {**os.environ, **(settings or {})}
    process = _context.Process(target=_quietly, args=(environ, target, *arguments))
    process.start()
    return process


def _quietly(environ: dict[str, str], target: Callable[..., object], *arguments: object) -> None:
    os.environ.clear()
    os.environ.update(environ)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    target(*arguments)
