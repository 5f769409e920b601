"""Saved JSON as one snapshot: pages, bare lists, single nodes, pools, as the API and the CLI print them.

What a file holds is told from its content; the pool from the nodes' urls where they name it. The id
is made from the content, so importing the same files again finds them committed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline import schema
from pipeline.flatten import NodeFlattener, pages, pool_rows, shape
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, Refused, date_of, new_snapshot_id
from pipeline.redact import Redactor
from pipeline.snapshot.ledger import Ledger, Listing, bare_pool, pool_tables
from pipeline.snapshot.live import Clock, Outcome, utc_now

Kind = Literal["nodes", "pools"]


class SavedError(Exception):
    """A file cannot be imported; ``is_usage`` where an option would help."""

    def __init__(self, name: str, problem: str, *, is_usage: bool = False) -> None:
        super().__init__(f"{name}: {problem}")
        self.is_usage = is_usage


@dataclass(frozen=True)
class SavedFile:
    """A file to import: its name, for messages, and its bytes."""

    name: str
    data: bytes


@dataclass
class Contents:
    """What the files hold together."""

    account: str | None = None
    batch_url: str | None = None
    pools: list[object] = field(default_factory=list)
    has_pools: bool = False
    nodes: dict[str, list[object]] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)
    """Pools whose last page had a next link that no file answers."""


_GZIP = b"\x1f\x8b"
_POOL_URL = re.compile(r"/pools/([^/]+)(?:/nodes/[^/]+)?/?")
_METADATA = re.compile(r"\$metadata#(\w+)")
_BATCH_HOST = re.compile(r"([a-z0-9]+)\.([a-z0-9-]+)\.batch\.[a-z0-9.]+", re.IGNORECASE)


def snapshot_id(
    files: Sequence[SavedFile],
    at: datetime,
    *,
    account: str,
    pool: str | None,
    complete: bool,
    keep_env: Sequence[str],
) -> str:
    """The id of an import: its time, and a hash of all that decides what it stores."""
    parts = [
        *sorted(hashlib.sha256(file.data).hexdigest() for file in files),
        json.dumps([account, pool, complete, sorted(keep_env), schema.SCHEMA_VERSION]),
    ]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return new_snapshot_id(at, digest[:8])


def read(files: Sequence[SavedFile], pool: str | None = None) -> Contents:
    """Reads the files and tells what they hold.

    Args:
        files: in order; several pages of one pool are one listing.
        pool: of nodes whose urls do not name it.

    Raises:
        SavedError: a file is not JSON, is an error body, or nothing tells what it holds.
    """
    contents = Contents()
    links: dict[str, int] = {}
    page_counts: dict[str, int] = {}
    for file in files:
        values, metadata, next_link = _elements(file)
        kind = _kind(file, values, metadata, pool)
        names = shape.NODE if kind == "nodes" else shape.POOL
        values = [_with_api_names(value, names) for value in values]
        _note_account(file, values, metadata, contents)
        if kind == "pools":
            contents.has_pools = True
            contents.pools += values
            continue
        by_pool: dict[str, list[object]] = {} if values or pool is None else {pool: []}
        for value in values:
            by_pool.setdefault(_pool_of(file, value, pool), []).append(value)
        for pool_id, nodes in by_pool.items():
            contents.nodes.setdefault(pool_id, []).extend(nodes)
            page_counts[pool_id] = page_counts.get(pool_id, 0) + 1
            links[pool_id] = links.get(pool_id, 0) + (next_link is not None)
    # The last page of a listing has no link: as many links as pages mean that one is missing.
    contents.unfinished = {pool for pool, count in page_counts.items() if links[pool] >= count}
    return contents


def _elements(file: SavedFile) -> tuple[list[object], str | None, str | None]:
    """The elements of a file, its odata.metadata and its next link."""
    try:
        text = file.data.decode(json.detect_encoding(file.data))
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=shape.unique_members,
            parse_constant=pages.refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise SavedError(file.name, f"not JSON: {error}{_advice(file.data, error)}") from None
    if isinstance(value, list):
        return value, None, None
    if not isinstance(value, dict):
        raise SavedError(file.name, "neither an object nor a list")
    metadata = value.get("odata.metadata")
    metadata = metadata if isinstance(metadata, str) else None
    if "value" in value:
        try:
            elements, next_link = pages.elements(value)
        except pages.BadPage as error:
            raise SavedError(file.name, str(error)) from None
        return elements, metadata, next_link
    if "code" in value and "message" in value and "id" not in value:
        raise SavedError(file.name, f"an error of the service, not a listing: {value['code']}")
    return [value], metadata, None


def _advice(data: bytes, error: Exception) -> str:
    """What to do with a file that is JSON once it is unpacked, or line by line."""
    if data.startswith(_GZIP):
        return "; it is packed with gzip: unpack it first, gunzip FILE"
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        return "; values one after another make a list by jq -s . FILE"
    return ""


def _kind(
    file: SavedFile, values: Sequence[object], metadata: str | None, pool: str | None
) -> Kind:
    """Nodes or pools: by the metadata, the urls, or the members' names."""
    named = _METADATA.search(metadata or "")
    if named and named[1].lower() in ("nodes", "pools"):
        return "nodes" if named[1].lower() == "nodes" else "pools"
    if named:
        raise SavedError(file.name, f"a listing of {named[1]}: only nodes and pools are imported")
    for value in values:
        parts = _split(value.get("url") if isinstance(value, dict) else None)
        if parts is not None and _POOL_URL.search(parts.path):
            return "nodes" if "/nodes/" in parts.path else "pools"
    names = {name for value in values if isinstance(value, dict) for name in value}
    only_nodes = shape.NODE.members.keys() - shape.POOL.members.keys() - {"startTask"}
    only_pools = (
        shape.POOL.members.keys() | {*schema.POOL_CONFIGURATION}
    ) - shape.NODE.members.keys()
    as_nodes, as_pools = len(names & only_nodes), len(names & only_pools)
    if as_nodes > as_pools or (as_nodes == as_pools and pool is not None):
        return "nodes"
    if as_pools > as_nodes:
        return "pools"
    raise SavedError(
        file.name,
        "nothing tells whether it holds nodes or pools: name the pool of its nodes with --pool",
        is_usage=True,
    )


def _with_api_names(value: object, names: shape.Shape) -> object:
    """The Azure CLI writes some names in another case (publicIpAddress): the API's are put back.

    Only where nothing is lost by it: the API's own name is not there as well.
    """
    if isinstance(names, shape.Elements) and isinstance(value, list):
        return [_with_api_names(element, names.element) for element in value]
    if not isinstance(names, shape.Members) or type(value) is not dict:
        return value
    known = {name.lower(): name for name in names.members}
    renamed: dict[str, object] = {}
    for name, x in cast(dict[str, object], value).items():
        own = known.get(name.lower(), name)
        if name in names.members or own in value or own in renamed:
            own = name
        inner = names.members.get(own)
        renamed[own] = _with_api_names(x, inner) if inner is not None else x
    return renamed


def _split(url: object) -> SplitResult | None:
    """A url's parts; None where it is none: ``http://[::1/``."""
    try:
        return urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return None


def _pool_of(file: SavedFile, value: object, pool: str | None) -> str:
    parts = _split(value.get("url") if isinstance(value, dict) else None)
    match = _POOL_URL.search(parts.path) if parts is not None else None
    if match is not None and pages.is_id(pool_id := unquote(match[1])):
        return pool_id
    if pool is None:
        raise SavedError(
            file.name, "a node whose url names no pool: name it with --pool", is_usage=True
        )
    return pool


def _note_account(
    file: SavedFile, values: Sequence[object], metadata: str | None, contents: Contents
) -> None:
    """Which account the urls name; one import is of one account."""
    urls = [v.get("url") for v in values if isinstance(v, dict)]
    for url in (metadata, *urls):
        parts = _split(url)
        match = _BATCH_HOST.fullmatch(parts.hostname or "") if parts is not None else None
        if parts is None or match is None:
            continue
        account = f"{match[1]}.{match[2]}".lower()
        if contents.account not in (None, account):
            problem = f"of the account {account}, another file is of {contents.account}"
            raise SavedError(file.name, f"{problem}: import them one by one", is_usage=True)
        contents.account = account
        # Without a user name and a password: they may stand before the host.
        contents.batch_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def store(
    files: Sequence[SavedFile],
    lake: Lake,
    *,
    at: datetime,
    account: str | None = None,
    labels: Mapping[str, str] | None = None,
    pool: str | None = None,
    complete: bool = False,
    redactor: Redactor | None = None,
    hash_key: bytes | None = None,
    clock: Clock = utc_now,
) -> Outcome:
    """Imports saved files as one snapshot.

    Args:
        files: pages, bare lists, single nodes, pools.
        lake: where to. No lock is taken: an import is whole or not at all.
        at: when they were saved; stands for the service's clock.
        account: label; by default that of the account the urls name.
        labels: the labels of known accounts by ``name.region``; the only one's, where urls name none.
        pool: of nodes whose urls do not name it.
        complete: the files hold every node of each pool they hold any of.
        redactor: masks secrets before anything is written.
        hash_key: key of ``start_task_fingerprint``.
        clock: for ``started_at`` and ``finished_at``.

    Returns:
        The outcome; ``is_stored`` is False where the lake has it already.

    Raises:
        SavedError: a file cannot be imported; nothing was stored.
        lake.Refused: that day has expired.
    """
    redactor = redactor or Redactor()
    started_at = clock()
    contents = read(files, pool)
    labels = labels or {}
    named = contents.account
    label = account or (labels.get(named, named) if named else None)
    if label is None and len(labels) == 1:
        label = next(iter(labels.values()))
    if label is None:
        problem = "nothing names its account: give it with --account"
        raise SavedError(files[0].name, problem, is_usage=True)
    identity = snapshot_id(
        files,
        at,
        account=label,
        pool=pool,
        complete=complete,
        keep_env=sorted(redactor.keep_env),
    )
    ledger = Ledger(
        Origin(label, identity, at),
        started_at,
        "import",
        "account" if contents.has_pools else "pools",
        contents.batch_url,
    )
    if lake.is_committed(identity):
        return Outcome(ledger.row(clock()) | {"status": "complete"}, False)
    if lake.is_expired(date_of(identity), label):
        raise Refused(f"{date_of(identity)} of {label} has expired: nothing may be added to it")
    with lake.writer(identity, label) as writer:
        rows = _pool_rows(contents, ledger, redactor, at)
        for pool_id, nodes in contents.nodes.items():
            flattener = NodeFlattener(ledger.origin, pool_id, redactor, hash_key=hash_key)
            writer.write(flattener.values(nodes, at))
            row = rows[pool_id]
            row |= {"nodes_listed": flattener.nodes, "listing_started_at": at}
            row["listing_finished_at"] = at
            if complete and not flattener.report.missing_ids and pool_id not in contents.unfinished:
                row["listing"] = "complete"
            ledger.report.add(flattener.report)
        if rows:
            writer.write(pool_tables(list(rows.values())))
        ledger.pools_listed = len(rows)
        ledger.pools_complete = sum(row["listing"] == "complete" for row in rows.values())
        ledger.rows = dict(writer.rows)
        is_whole = not (ledger.report.malformed or ledger.report.missing_ids)
        ledger.status = "complete" if is_whole else "partial"
        finished_at = clock()
        writer.commit(ledger.table(finished_at))
    return Outcome(ledger.row(finished_at), True)


def _pool_rows(
    contents: Contents, ledger: Ledger, redactor: Redactor, at: datetime
) -> dict[str, dict[str, object]]:
    """A row of ``pools`` for every pool met, its listing ``partial`` until it is proven complete."""
    partial: Listing = "partial"
    rows: dict[str, dict[str, object]] = {}
    for row in pool_rows(contents.pools, ledger.origin, redactor, ledger.report):
        rows.setdefault(str(row["pool_id"]), row | {"listing": partial})
    for pool_id in contents.nodes:
        rows.setdefault(pool_id, bare_pool(ledger.origin, pool_id) | {"listing": partial})
    ledger.pool_listing = "partial"
    if contents.has_pools:
        ledger.pool_listing_started_at = ledger.pool_listing_finished_at = at
    return rows
