"""Credentials that are refused, and clocks that disagree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline.config import Account, ConfigError, Secret
from pipeline.extract import (
    AuthFailed,
    BatchClient,
    ServiceError,
)
from tests.extract.made_up import (
    ENDPOINT,
    NOW,
    Credential,
    answer,
    failure_of,
    refusal,
)


class TestSigningIn:
    """Refusals of credentials."""

    def test_401_that_heals(self, connect):
        """A 401 gets one fresh token, and the page is there."""
        client, service = connect(refusal(401), answer(), credential=Credential())
        list(client.pools())

        assert ["Bearer token-1", "Bearer token-2"] == [
            request.headers["Authorization"] for request in service.requests
        ]
        assert (2, 0) == (client.figures.requests, client.figures.retries)

    def test_403_that_does_not(self, connect):
        """A 403 is the service's answer."""
        client, service = connect(refusal(403, "Forbidden", "no role"))
        error = failure_of(client.pools)

        assert (ServiceError, "Forbidden", "no role", 1) == (
            type(error),
            error.code,
            error.message,
            len(service.requests),
        )

    def test_clock_far_off(self, connect):
        """A refusal for time is healed by the service's clock, without a retry."""
        date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        client, service = connect(refusal(403, "AuthenticationFailed", Date=date), answer())
        list(client.pools())

        assert date == service.requests[1].headers["ocp-date"]
        assert (2, 0) == (client.figures.requests, client.figures.retries)

    def test_no_token(self, connect):
        """Without a token nothing is sent, and the error says what to do."""
        credential = Credential()
        credential.error = RuntimeError("no identity here; access_token=hunter2hunter2")
        client, service = connect(credential=credential)
        error = failure_of(client.pools)

        assert (AuthFailed, [], 1) == (type(error), service.requests, credential.calls)
        assert error.message.startswith("could not sign in with Entra: run `az login`, give ")
        assert "AZURE_BATCH_ACCESS_KEY to use a key. azure-identity says: no id" in error.message
        assert "hunter2" not in str(error)

    def test_missing_key(self):
        """An account whose key is missing makes no client, and does not fall back to Entra."""
        account = Account(ENDPOINT, "acct", "acct.eastus", key_env="MY_KEY")

        with pytest.raises(ConfigError, match="MY_KEY"):
            BatchClient(account)

    def test_plain_http(self):
        """An account that is far away and not on https makes no client."""
        account = Account("http://acct.example", "acct", "a", key=Secret("a2V5"))

        with pytest.raises(AuthFailed, match="over https"):
            BatchClient(account)


class TestClocks:
    """The service's clock and ours."""

    def test_observed_at_without_a_date(self, connect):
        """Without a Date header, our clock is corrected by the skew seen so far."""
        date = format_datetime(NOW + timedelta(minutes=10), usegmt=True)
        client, _ = connect(answer(), answer(Date=date), answer(Date="x"))
        observed = [page.observed_at - NOW for _ in range(3) for page in client.pools()]

        assert [timedelta(0), timedelta(minutes=10), timedelta(minutes=10)] == observed
        assert 600.0 == client.figures.clock_skew_seconds

    def test_no_skew_yet(self, connect):
        """Before any dated answer the skew is not known."""
        client, _ = connect(answer())
        list(client.pools())

        assert client.figures.clock_skew_seconds is None

    def test_observed_at_is_utc(self, connect):
        """A date in another zone is brought to UTC."""
        client, _ = connect(answer(Date="Fri, 17 Jan 2025 02:00:00 +0200"))

        assert [(NOW, UTC)] == [(p.observed_at, p.observed_at.tzinfo) for p in client.pools()]
