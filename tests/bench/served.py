"""A lean server of ready-made, gzipped replies: ``python -m tests.bench.served FOLDER SECONDS``.

The emulator would share the machine's cores with whom it serves; this one only sends bytes, each reply
so many seconds after it was asked for, from a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path

ACCOUNT = {"AZURE_BATCH_ACCOUNT": "acct", "AZURE_BATCH_ACCESS_KEY": "a2V5"}


def lay_out(folder: Path, pools: Mapping[str, Sequence[bytes]]) -> None:
    """Writes the replies of an account: its pools, their counts, and the pages of each pool.

    Pools may share pages; a list of pages is written once.
    """
    told = [{"id": pool, "state": "active", "vmSize": "standard_d4s_v3"} for pool in pools]
    counts = [{"poolId": pool, "dedicated": {"total": 0}} for pool in pools]
    _put(folder / "pools", json.dumps({"value": told}).encode())
    _put(folder / "nodecounts", json.dumps({"value": counts}).encode())
    _put(folder / "supportedimages", b'{"value":[]}')
    lists: dict[int, int] = {}
    for pages in pools.values():
        number = lists.setdefault(id(pages), len(lists))
        if (folder / f"list{number}page0").exists():
            continue
        for at, body in enumerate(pages):
            if at + 1 < len(pages):
                # The port is not known yet: a link may be relative.
                body = b'{"odata.nextLink":"/list%dpage%d",%b' % (number, at + 1, body[1:])
            _put(folder / f"list{number}page{at}", body)
    first = {
        f"/pools/{pool}/nodes": f"list{lists[id(pages)]}page0" for pool, pages in pools.items()
    }
    (folder / "paths.json").write_text(json.dumps(first))


def _put(path: Path, body: bytes) -> None:
    path.write_bytes(gzip.compress(body, 6, mtime=0))


def replies(folder: Path) -> dict[str, bytes]:
    """What is sent for each path, but for the date."""
    bodies = {f"/{path.name}": path.read_bytes() for path in folder.iterdir() if not path.suffix}
    paths = json.loads((folder / "paths.json").read_text())
    bodies |= {path: bodies[f"/{name}"] for path, name in paths.items()}
    return bodies


#: A file on a node, whichever is asked for: its size, and the line it is full of.
_FILE_BYTES, _LINE = 3_000, b"setup.sh: line 41: mount /mnt/scratch: permission denied\n"


def _file(request: bytes) -> bytes:
    """The answer to HEAD or GET of a file: plain, and of GET the range that is asked for."""
    if request.startswith(b"HEAD"):
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _FILE_BYTES
    wanted = re.search(rb"ocp-range: bytes=(\d+)-(\d+)", request, re.IGNORECASE)
    assert wanted, request
    body = (_LINE * (_FILE_BYTES // len(_LINE) + 1))[int(wanted[1]) : int(wanted[2]) + 1][
        :_FILE_BYTES
    ]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(folder: Path, seconds: float) -> None:
    bodies = replies(folder)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                path = asked.split(b" ", 2)[1].decode().partition("?")[0]
                await asyncio.sleep(seconds)
                if "/files/" in path:
                    writer.write(_file(asked))
                    await writer.drain()
                    continue
                body = bodies[path]
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json;odata=minimalmetadata\r\n"
                    b"Content-Encoding: gzip\r\nDate: %b\r\nrequest-id: 0\r\n"
                    b"Content-Length: %d\r\n\r\n"
                    % (formatdate(time.time(), usegmt=True).encode(), len(body))
                )
                writer.write(body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def served(folder: Path, seconds: float) -> Iterator[dict[str, str]]:
    """The environment of a client of that account, while it is served."""
    command = [sys.executable, "-m", "tests.bench.served", str(folder), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port = process.stdout.readline().strip()
            yield ACCOUNT | {"AZURE_BATCH_ENDPOINT": f"http://127.0.0.1:{port}"}
        finally:
            process.terminate()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
