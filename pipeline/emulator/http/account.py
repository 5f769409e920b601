"""The account behind the app: its name and keys, its fleet, its active faults, its clock."""

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta

from ..faults import Faults
from ..fleet.fleet import Fleet
from ..streams import fake_secret
from .access import Tokens, is_base64

_TRUTH_HOURS = 48.0  # hours that the truth log of a running clock keeps
_TICKS_PER_SECOND = 4  # seconds between two moves of a running clock: pages are cached in between


class EmulatedAccount:
    """The state that the app, the administrative path and the server share; see ``Emulator``."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        account: str,
        key: str | None,
        faults: Faults | None,
        speed: float | None,
        allows_shared_key: bool,
        refused_versions: Iterable[str],
        token_lifetime_seconds: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """Open an account on a fleet; the fleet file's faults follow those given."""
        self.fleet = fleet
        self.account = account
        self.key = fake_secret(fleet.seed, "account", account) if key is None else key
        if not is_base64(self.key):
            raise ValueError("the account key must be base64")
        self.allows_shared_key = allows_shared_key
        self.faults = Faults(seed=fleet.seed) if faults is None else faults
        for fault in fleet.config.faults:
            self.faults.add(fault)
        #: api-versions that get UnsupportedRequestVersion; may be set at any time
        self.refused_versions = frozenset({*fleet.config.refused_versions, *refused_versions})
        self.tokens = Tokens(fleet.seed, token_lifetime_seconds)
        self.speed = speed or None
        if self.speed and fleet.truth_hours is None:
            fleet.truth_hours = _TRUTH_HOURS
        self.clock = clock
        self.sleep = sleep
        self.lock = fleet.lock
        #: host names of the app besides those of loopback
        self.listens_on: set[str] = set()
        self.interrupted = threading.Event()  # stops a running move of the clock
        self.closing = threading.Event()  # a server stops, and long work with it
        self._began = clock()
        self._began_at = fleet.now

    @property
    def endpoint(self) -> str:
        """The account's URL in the form of the real service, for use in process."""
        return f"https://{self.account}.{self.fleet.config.region}.batch.azure.com"

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of a client, for use in process."""
        return self.settings_for(self.endpoint)

    def settings_for(self, endpoint: str) -> dict[str, str]:
        """Return the environment variables of a client of this endpoint."""
        return {
            "AZURE_BATCH_ENDPOINT": endpoint,
            "AZURE_BATCH_ACCOUNT": self.account,
            "AZURE_BATCH_ACCESS_KEY": self.key,
        }

    def tick(self) -> None:
        """Move a running clock on with the wall clock."""
        if self.speed is None:
            return
        elapsed = int((self.clock() - self._began) * _TICKS_PER_SECOND) / _TICKS_PER_SECOND
        to = self._began_at + timedelta(seconds=elapsed * self.speed)
        with self.lock:
            if to > self.fleet.now:
                self.fleet.advance(to)
