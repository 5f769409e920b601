"""What is asked of the service, and what a page is."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline.config import Limits
from pipeline.extract import Page
from tests.extract.made_up import (
    DATE,
    ENDPOINT,
    NOW,
    VERSION,
    answer,
    failure_of,
    page_with,
)

START = datetime(2025, 1, 16, 1, 30, tzinfo=UTC)


OPERATIONS = {
    "pools": (lambda c: list(c.pools()), f"/pools?{VERSION}&maxresults=1000"),
    "pool": (lambda c: [c.pool("p1")], f"/pools/p1?{VERSION}"),
    "nodes": (lambda c: list(c.nodes("p1")), f"/pools/p1/nodes?{VERSION}&maxresults=1000"),
    "node": (lambda c: [c.node("p1", "tvm_1")], f"/pools/p1/nodes/tvm_1?{VERSION}"),
    "node, parts": (
        lambda c: [c.node("p1", "n", select=["id", "state"], timeout=30)],
        f"/pools/p1/nodes/n?{VERSION}&$select=id,state&timeout=30",
    ),
    "node counts": (lambda c: list(c.node_counts()), f"/nodecounts?{VERSION}&maxresults=10"),
    "node counts of a pool": (
        lambda c: list(c.node_counts("p'1")),
        f"/nodecounts?{VERSION}&maxresults=10&$filter=poolId%20eq%20%27p%27%271%27",
    ),
    "usage": (
        lambda c: list(c.usage_metrics(START, NOW)),
        f"/poolusagemetrics?{VERSION}&starttime=2025-01-16T01%3A30%3A00Z"
        "&endtime=2025-01-17T00%3A00%3A00Z&maxresults=1000",
    ),
}


class TestRequests:
    """What is asked of the service, and how."""

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_operations(self, connect, name):
        """Each operation is one GET of its route, and its page is the body as sent."""
        call, route = OPERATIONS[name]
        client, service = connect(answer(body=b'{ "value" : [] }', request_id="r-1", **DATE))
        [page] = call(client)

        assert [("GET", ENDPOINT + route)] == [(r.method, str(r.url)) for r in service.requests]
        assert (b'{ "value" : [] }', None, NOW, "r-1", ENDPOINT + route) == (
            page.body,
            page.next_link,
            page.observed_at,
            page.request_id,
            page.url,
        )

    def test_headers(self, connect):
        """What each request carries; the client-request-id is a bare GUID of its own."""
        client, service = connect(answer(), answer())
        list(client.pools())
        list(client.pools())
        first, second = (request.headers for request in service.requests)

        assert "application/json;odata=minimalmetadata" == first["Accept"]
        assert "gzip" == first["Accept-Encoding"]
        assert "true" == first["return-client-request-id"]
        assert first["User-Agent"].startswith("nodelake/")
        assert first["ocp-date"].endswith(" GMT")
        assert first["Authorization"].startswith("SharedKey acct:")
        assert re.fullmatch(
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["client-request-id"]
        )
        assert first["client-request-id"] != second["client-request-id"]

    def test_options(self, connect):
        """The api-version and the page size can be chosen."""
        client, service = connect(answer(), api_version="2025-06-01", limits=Limits(page_size=7))
        list(client.nodes("p"))

        assert [f"{ENDPOINT}/pools/p/nodes?api-version=2025-06-01&maxresults=7"] == service.urls

    def test_odd_ids(self, connect):
        """An id is one segment of the path, whatever it holds; what cannot be one is refused."""
        client, service = connect(answer(), answer(body=b"{}"))
        list(client.nodes("a/b?c#d%e é"))
        client.node("p", "../../jobs")

        assert (
            "/pools/a%2Fb%3Fc%23d%25e%20%C3%A9/nodes"
            == service.requests[0].url.raw_path.decode("ascii").partition("?")[0]
        )
        assert f"{ENDPOINT}/pools/p/nodes/..%2F..%2Fjobs?{VERSION}" == service.urls[1]

    @pytest.mark.parametrize("name", ["", ".", "..", "\udcff"])
    def test_no_ids(self, connect, name):
        """What would be another path is refused, as an error of that pool and not of the run."""
        client, service = connect()
        errors = [
            failure_of(call)
            for call in (
                lambda: client.nodes(name),
                lambda: [client.pool(name)],
                lambda: [client.node("p", name)],
            )
        ]

        assert ["InvalidId"] * 3 == [error.code for error in errors]
        assert [] == service.requests

    def test_arguments(self, connect):
        """A timeout beyond the service's, or a time without a zone, is refused before it is sent."""
        client, service = connect()
        for timeout in (0, 31):
            with pytest.raises(ValueError, match="1 to 30"):
                client.node("p", "n", timeout=timeout)
        with pytest.raises(ValueError, match="time zone"):
            client.usage_metrics(datetime(2025, 1, 1), NOW)
        assert [] == service.requests

    def test_a_listing_is_lazy(self, connect):
        """No page is fetched before it is asked for: memory is bounded by pages in flight."""
        link = f"{ENDPOINT}/pools?{VERSION}&$skiptoken=1"
        client, service = connect(answer(body=page_with(link)), answer())
        pages = client.pools()

        assert 0 == len(service.requests)
        next(pages)
        assert 1 == len(service.requests)


def test_page_does_not_show_its_body():
    """A page's repr has no body in it: it may hold secrets, and megabytes."""
    assert "hunter2" not in repr(Page(b"hunter2", None, NOW, None, ENDPOINT))


def test_imports_are_light():
    """Importing the room does not import azure-identity, which takes half a second."""
    code = "import sys, pipeline.extract; print('azure.identity' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "False" == result.stdout.strip()


@pytest.mark.parametrize("days", [-2, -1.001, 1.001, 40, 2_900_000])
def test_a_date_far_from_ours_is_not_believed(connect, caplog, days):
    """The local clock is taken, the skew is reported, and there is one warning for the whole client."""
    far = NOW + timedelta(days=days)
    headers = {"Date": format_datetime(far, usegmt=True)}
    client, _ = connect(answer(**headers), answer(**headers), answer())
    seen = [page.observed_at for _ in range(3) for page in client.pools()]
    assert seen == [NOW] * 3
    assert client.figures.clock_skew_seconds == pytest.approx((far - NOW).total_seconds(), abs=1)
    assert len([r for r in caplog.records if "clock" in r.getMessage()]) == 1


@pytest.mark.parametrize("days", [-0.999, -0.01, 0.01, 0.999])
def test_a_date_within_a_day_is_the_service_s_clock(connect, days):
    """And corrects the local clock where an answer has none."""
    near = (NOW + timedelta(days=days)).replace(microsecond=0)
    client, _ = connect(answer(Date=format_datetime(near, usegmt=True)), answer())
    seen = [page.observed_at for _ in range(2) for page in client.pools()]
    assert seen == [near, near]
