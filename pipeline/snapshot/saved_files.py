"""Reads saved files: pages, bare lists, single nodes and pools, as the API and the CLI print them.

The content shows the kind of a file; the urls of nodes name their pool.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from pipeline import schema
from pipeline.extract.envelope import MAX_ELEMENTS, check_size, check_utf8
from pipeline.flatten import pages, shape

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


@dataclass(frozen=True)
class DiskFile:
    """A file to import that is read each time its bytes are needed: memory holds few files at a time."""

    name: str
    status: os.stat_result

    @property
    def data(self) -> bytes:
        """Its bytes. Raises SavedError where the file has changed since ``open_file``."""
        with Path(self.name).open("rb") as file:
            data, status = file.read(), os.fstat(file.fileno())
        if _version(status) != _version(self.status):
            raise SavedError(self.name, "it changed during the import: import it again")
        return data


def open_file(path: str | os.PathLike[str]) -> SavedFile | DiskFile:
    """The file of that name; a pipe is read at once, as it cannot be read again.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            return DiskFile(os.fspath(path), status)
        return SavedFile(os.fspath(path), file.read())


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class SavedPage:
    """A page of one pool's nodes as the service sends them, read like a downloaded one."""

    file: SavedFile | DiskFile
    next_link: str | None

    def body(self) -> bytes:
        """The page's bytes."""
        return self.file.data.removeprefix(_UTF8_MARK)


@dataclass(frozen=True)
class SavedValues:
    """Some nodes of another file, under the API's names, as the JSON of a page: smaller than values."""

    body: bytes


Part = SavedPage | SavedValues | list[object]
#: Nodes of a list that are flattened at a time: the result is larger than the JSON.
_AT_ONCE = 1000


@dataclass
class Contents:
    """The content of all files."""

    account: str | None = None
    batch_url: str | None = None
    pools: list[object] = field(default_factory=list)
    has_pools: bool = False
    nodes: dict[str, list[Part]] = field(default_factory=dict)
    """By pool, the content of its files, in order."""
    hashes: list[str] = field(default_factory=list)
    """The SHA-256 of each file."""
    unfinished: set[str] = field(default_factory=set)
    """Pools whose last page has a next link without a file."""


_GZIP = b"\x1f\x8b"
_POOL_URL = re.compile(r"/pools/([^/]+)(?:/nodes/[^/]+)?/?")
_METADATA = re.compile(r"\$metadata#(\w+)")
_BATCH_HOST = re.compile(r"([a-z0-9]+)\.([a-z0-9-]+)\.batch\.[a-z0-9.]+", re.IGNORECASE)


_UTF8_MARK = b"\xef\xbb\xbf"


class _Node(msgspec.Struct, gc=False):
    url: str | None = None


class _NodePage(msgspec.Struct):
    value: list[_Node]
    metadata: str = msgspec.field(name="odata.metadata", default="")
    next_link: str | None = msgspec.field(name="odata.nextLink", default=None)


_PAGE = msgspec.json.Decoder(_NodePage)


def read(files: Sequence[SavedFile | DiskFile], pool: str | None = None) -> Contents:
    """Reads the files and sorts their content by pool.

    Args:
        files: in order; several pages of one pool are one listing.
        pool: of nodes whose urls do not name it.

    Raises:
        SavedError: a file is not JSON, is an error body, or its kind is unknown.
    """
    contents = Contents()
    links: dict[str, int] = {}
    page_counts: dict[str, int] = {}
    for source in files:
        file = SavedFile(source.name, source.data)
        contents.hashes.append(hashlib.sha256(file.data).hexdigest())
        found = _node_page(source, file.data, contents)
        if found is not None:
            parts: dict[str, list[Part]] = {found[0]: [found[1]]}
            next_link = found[1].next_link
        else:
            values, metadata, next_link, is_plain = _elements(file)
            kind = _kind(file, values, metadata, pool)
            names = shape.NODE if kind == "nodes" else shape.POOL
            values = [_with_api_names(value, names) for value in values]
            _note_account(file.name, values, metadata, contents)
            if kind == "pools":
                contents.has_pools = True
                contents.pools += values
                continue
            by_pool: dict[str, list[object]] = {} if values or pool is None else {pool: []}
            for value in values:
                by_pool.setdefault(_pool_of(file, value, pool), []).append(value)
            parts = {pool_id: _parts(those, is_plain) for pool_id, those in by_pool.items()}
        for pool_id, those_parts in parts.items():
            contents.nodes.setdefault(pool_id, []).extend(those_parts)
            page_counts[pool_id] = page_counts.get(pool_id, 0) + 1
            links[pool_id] = links.get(pool_id, 0) + (next_link is not None)
    # The last page of a listing has no link: as many links as pages mean that one is missing.
    contents.unfinished = {pool for pool, count in page_counts.items() if links[pool] >= count}
    return contents


def _parts(values: list[object], is_plain: bool) -> list[Part]:
    """Some nodes in parts; as JSON where they are plain: held as values they keep Python's garbage
    collector busy."""
    chunks = [values[begin : begin + _AT_ONCE] for begin in range(0, len(values) or 1, _AT_ONCE)]
    if not is_plain:
        return [*chunks]
    return [SavedValues(msgspec.json.encode({"value": chunk})) for chunk in chunks]


def _node_page(
    source: SavedFile | DiskFile, data: bytes, contents: Contents
) -> tuple[str, SavedPage] | None:
    """The pool and the page of a file that is one page of a pool's nodes as the service sends it.

    None for any other file, and for an irregular page: its values are then sorted one by one.
    """
    body = data.removeprefix(_UTF8_MARK)
    try:
        check_size(body)
        check_utf8(body)
        page = _PAGE.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    named = _METADATA.search(page.metadata)
    # A node without a url is none of these: the values decide which pool it is of, or refuse it.
    starts = {node.url.partition("/nodes/")[0] if node.url else "" for node in page.value}
    if not named or named[1].lower() != "nodes" or len(starts) != 1:
        return None
    start = starts.pop()
    parts = _split(start)
    match = _POOL_URL.fullmatch(parts.path) if parts is not None else None
    if match is None or not pages.is_id(pool_id := unquote(match[1])):
        return None
    if len(page.value) > MAX_ELEMENTS:
        raise SavedError(
            source.name, f"a page of {len(page.value):,} nodes, more than {MAX_ELEMENTS:,}"
        )
    _note_account(source.name, [{"url": start}], page.metadata, contents)
    return pool_id, SavedPage(source, page.next_link)


def _elements(file: SavedFile) -> tuple[list[object], str | None, str | None, bool]:
    """The elements of a file, its odata.metadata, its next link, and whether they are plain JSON."""
    if not file.data.strip():
        raise SavedError(file.name, "the file is empty")
    try:
        text = file.data.decode(json.detect_encoding(file.data)).removeprefix("\ufeff")
        value, is_plain = pages.parse_whole(text)
    except UnicodeDecodeError as error:
        where = f"not JSON: byte {error.start + 1:,} is not a character"
        raise SavedError(file.name, f"{where}{_advice(file.data, error)}") from None
    except (ValueError, RecursionError) as error:
        raise SavedError(file.name, f"not JSON: {error}{_advice(file.data, error)}") from None
    if isinstance(value, list):
        return value, None, None, is_plain
    if not isinstance(value, dict):
        raise SavedError(file.name, "neither an object nor a list")
    metadata = value.get("odata.metadata")
    metadata = metadata if isinstance(metadata, str) else None
    if "value" in value:
        try:
            elements, next_link = pages.elements(value)
        except pages.BadPage as error:
            raise SavedError(file.name, str(error)) from None
        return elements, metadata, next_link, is_plain
    if "code" in value and "message" in value and "id" not in value:
        raise SavedError(file.name, f"an error of the service, not a listing: {value['code']}")
    return [value], metadata, None, is_plain


def _advice(data: bytes, error: Exception) -> str:
    """A hint for a file that is compressed JSON, or JSON line by line."""
    if data.startswith(_GZIP):
        return "; it is packed with gzip: unpack it first, gunzip FILE"
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        return "; values one after another make a list by jq -s . FILE"
    return ""


def _kind(
    file: SavedFile, values: Sequence[object], metadata: str | None, pool: str | None
) -> Kind:
    """Whether values are nodes or pools, from metadata, urls, or the names of members."""
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
        "nothing says whether it holds nodes or pools: name the pool of its nodes with --pool",
        is_usage=True,
    )


def _with_api_names(value: object, names: shape.Shape) -> object:
    """Restores names that the Azure CLI writes in another case (publicIpAddress). Changes ``value``.

    Only where nothing is lost: the API's name must be absent.
    """
    if isinstance(names, shape.Elements):
        if isinstance(value, list):
            value[:] = [_with_api_names(element, names.element) for element in value]
        return value
    if not isinstance(names, shape.Members) or type(value) is not dict:
        return value
    known = names.members
    for name, inner in known.items():
        if not isinstance(inner, shape.Leaf) and (x := value.get(name)):
            value[name] = _with_api_names(x, inner)
    if value.keys() <= known.keys():
        return value
    own_names = _by_lower_case(names)
    renamed: dict[str, object] = {}
    for name, x in value.items():
        own = own_names.get(name.lower(), name) if name not in known else name
        if own != name and own not in value and own not in renamed:
            renamed[own] = _with_api_names(x, known[own])
        else:
            renamed[name] = x
    return renamed


@lru_cache(maxsize=64)
def _by_lower_case(of: shape.Members) -> Mapping[str, str]:
    return {name.lower(): name for name in of.members}


def _split(url: object) -> SplitResult | None:
    """The parts of a url; None where it is invalid: ``http://[::1/``."""
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
    name: str, values: Sequence[object], metadata: str | None, contents: Contents
) -> None:
    """Records the account that the urls name; an import has one account."""
    urls = [v.get("url") for v in values if isinstance(v, dict)]
    for url in (metadata, *urls):
        parts = _split(url)
        match = _BATCH_HOST.fullmatch(parts.hostname or "") if parts is not None else None
        if parts is None or match is None:
            continue
        account = f"{match[1]}.{match[2]}".lower()
        if contents.account not in (None, account):
            problem = f"of the account {account}, another file is of {contents.account}"
            raise SavedError(name, f"{problem}: import them one by one", is_usage=True)
        contents.account = account
        # Without user name and password, which may precede the host.
        contents.batch_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
