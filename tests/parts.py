"""Programs that some tests use: a test that lacks one is skipped with the reason, and fails in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, install: str) -> str:
    """The path of a program; skips the test where it is absent, but fails it in CI."""
    path = shutil.which(name)
    if path:
        return path
    reason = f"needs {name}: {install}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
