"""Results of maintenance, for the closing line and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class _Run:
    """The accounts of a run, and those that another run has locked."""

    accounts: int = 0
    locked: list[str] = field(default_factory=list)

    def _exit_code(self, unfinished: list[str]) -> int:
        if self.locked and len(self.locked) == self.accounts:
            return 4
        return 3 if unfinished or self.locked else 0


@dataclass
class Compacted(_Run):
    """Result of a compaction."""

    days: int = 0
    late: int = 0
    snapshots: int = 0
    rows: int = 0
    history_days: int = 0
    swept: int = 0
    orphans: int = 0
    open_days: list[str] = field(default_factory=list)
    """The account-days that stay open, each with the reason."""

    @property
    def exit_code(self) -> int:
        """0 done, 3 some day stays open or some account was locked, 4 every account was locked."""
        return self._exit_code(self.open_days)


@dataclass
class Expired(_Run):
    """Result of an expiry."""

    days: int = 0
    history_days: int = 0
    kept: list[str] = field(default_factory=list)
    """Old data that was kept, each with the reason."""

    @property
    def exit_code(self) -> int:
        """0 done, 3 something was kept, 4 every account was locked."""
        return self._exit_code(self.kept)
