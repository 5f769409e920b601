"""Settings of the command leave the process as they found it."""

from __future__ import annotations

import gc

import pytest

from pipeline.cli.memory import no_cycles


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was(was_enabled: bool) -> None:
    """Also after an error."""

    @no_cycles()
    def fail() -> None:
        assert not gc.isenabled()
        raise LookupError

    (gc.enable if was_enabled else gc.disable)()
    try:
        for _ in range(2):
            with pytest.raises(LookupError):
                fail()
            assert gc.isenabled() is was_enabled
    finally:
        gc.enable()
