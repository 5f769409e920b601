"""The real service's answers, where ../shared has them."""

from __future__ import annotations

import json
import re

import pytest

from pipeline.config import Limits
from pipeline.extract.body import CheckedBody, find_error, read_listing, read_single
from tests.extract.made_up import (
    answer,
    failure_of,
    recorded,
)


class TestRecordings:
    """The real service's answers, where ../shared has them."""

    @pytest.mark.parametrize("recording", recorded("*list-*") + recorded("*nodecounts-*"))
    def test_listings(self, connect, recording):
        """Every recorded listing is a page, and its nextLink is the one it has."""
        body = json.dumps(recording["body"]).encode()

        assert recording["body"].get("odata.nextLink") == read_listing(body).next_link

    @pytest.mark.parametrize("recording", recorded("*get-*"))
    def test_singles(self, recording):
        """Every recorded pool or node is a single one and no error."""
        body = json.dumps(recording["body"]).encode()

        assert CheckedBody() == read_single(body)
        assert find_error(body) is None

    @pytest.mark.parametrize("recording", recorded("*-error-*"))
    def test_errors(self, connect, recording):
        """Every recorded error is reported with its own code and first line, with its request-id."""
        body, status = recording["body"], recording["_provenance"]["status"]
        client, _ = connect(answer(status, json.dumps(body).encode()), limits=Limits(attempts=1))
        error = failure_of(client.pools)

        assert (body["code"], status) == (error.code, error.status)
        assert f"RequestId:{error.request_id}\n" in body["message"]["value"]
        assert error.message.startswith(body["message"]["value"].splitlines()[0].strip())
        assert not re.search(r"RequestId|Time:", error.message)
