"""A made-up Batch service that says what a poll planned, and the ways of a poll into a lake."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import httpx

from pipeline import maintain, snapshot
from pipeline.config import Account, Limits, Secret
from pipeline.extract import BatchClient
from pipeline.lake import Lake
from tests.simulator.documents import ENDPOINT, Json
from tests.simulator.world import Fault, Poll

_LIMITS = Limits(attempts=1)
_NODES = re.compile(r"/pools/([^/]+)/nodes")
_POOL = re.compile(r"/pools/([^/]+)")


class Service(httpx.BaseTransport):
    """Answers the requests of one run, each by the poll's plan, whatever order they come in."""

    def __init__(self, poll: Poll) -> None:
        self.poll = poll

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The page, pool or refusal that the plan has for it."""
        url = request.url
        number = int(parse_qs(url.query.decode()).get("number", ["0"])[0])
        if match := _NODES.fullmatch(url.path):
            return self._nodes(url, match[1], number)
        if match := _POOL.fullmatch(url.path):
            (pool,) = [each for each in self.poll.pools if each["id"] == match[1]]
            return _answer(self.poll.at, pool)
        if url.path == "/pools":
            return self._pools(url, number)
        return _answer(self.poll.at, {"value": []})  # /nodecounts

    def _pools(self, url: httpx.URL, number: int) -> httpx.Response:
        """One page, or, where the list breaks off, a page whose next one is refused."""
        poll = self.poll
        if poll.pool_fault and (number == 1 or not poll.pools):
            return _refusal(poll.at, "refused")
        following = number + 1 if poll.pool_fault else None
        return _answer(poll.at, _page(url, poll.pools, following))

    def _nodes(self, url: httpx.URL, pool_id: str, number: int) -> httpx.Response:
        planned = self.poll.nodes[pool_id]
        if number == len(planned.pages):
            return _refusal(self.poll.at, planned.fault or "refused")
        page = planned.pages[number]
        has_more = number + 1 < len(planned.pages) or planned.fault is not None
        body = _page(url, page.nodes, number + 1 if has_more else None)
        return _answer(page.observed_at, body)


def _page(url: httpx.URL, values: list[Json], following: int | None) -> Json:
    made: Json = {"odata.metadata": "m", "value": values}
    if following is not None:
        plain = url.copy_remove_param("number")
        made["odata.nextLink"] = str(plain.copy_add_param("number", following))
    return made


def _answer(at: datetime, body: Json, status: int = 200) -> httpx.Response:
    headers = {"Date": format_datetime(at, usegmt=True), "Content-Type": "application/json"}
    data = json.dumps(body).encode()
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(data))


def _refusal(at: datetime, fault: Fault) -> httpx.Response:
    status, code = (404, "PoolNotFound") if fault == "gone" else (500, "InternalError")
    return _answer(at, {"code": code, "message": {"lang": "en", "value": "no"}}, status)


def store(lake: Lake, poll: Poll) -> None:
    """Takes the poll as `nodelake snapshot` or `nodelake import` does."""
    if poll.source == "import":
        files = [
            snapshot.SavedFile(pool_id, json.dumps({"value": page.nodes}).encode())
            for pool_id, pages in poll.nodes.items()
            for page in pages.pages
        ]
        if files:
            snapshot.store(
                files,
                lake,
                at=poll.at,
                account=poll.account,
                complete=poll.is_complete,
                clock=lambda: poll.at,
            )
        return
    endpoint = ENDPOINT.format(account=poll.account)
    account = Account(endpoint, poll.account, poll.account, key=Secret("a2V5a2V5a2V5a2V5"))
    with BatchClient(
        account,
        limits=_LIMITS,
        transport=Service(poll),
        local_now=lambda: poll.local_at,
        sleep=lambda seconds: None,
    ) as client:
        snapshot.run(account, lake, client, clock=lambda: poll.local_at, pools=poll.wanted)


def compact(lake: Lake, now: datetime) -> None:
    """Closes the days that are over by then, makes their history, sweeps at once."""
    maintain.compact(lake, clock=lambda: now, grace=timedelta(0))


def expire(lake: Lake, now: datetime, before: date) -> None:
    """Gives up the rows of the days before this one."""
    maintain.expire(lake, clock=lambda: now, compacted_days=(now.date() - before).days)
