"""The captured output of a node's failed start tasks, for the end of its story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.cli.console import escape

if TYPE_CHECKING:
    from pipeline.query import Connection

#: The most lines of a file that are printed; the table has the rest.
_LINES = 20

_CAPTURED = """
select file, start_time, exit_code, text, bytes, error_code
from start_task_output
where account = $account and pool_id = $pool and node_id = $node
    and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
    and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
qualify row_number() over (
    partition by file order by text is null, start_time desc, snapshot_id desc
) = 1
order by file
"""


def captured(
    connection: Connection, account: str, pool: str, node: str, start: object, end: object
) -> list[dict[str, Any]]:
    """The last captured output of each file of a node, of runs that began between two times."""
    found: list[dict[str, Any]] = connection.table(
        _CAPTURED,
        {"account": account, "pool": pool, "node": node, "from": start, "to": end},
    ).to_pylist()
    return found


def lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The outputs as lines for a terminal, their control characters visible."""
    for row in rows:
        began = f"{row['start_time']:%Y-%m-%d %H:%M:%S}" if row["start_time"] else "?"
        what = f"{row['file']} of the start task of {began}, exit {row['exit_code']}"
        yield ""
        if row["text"] is None:
            yield f"{what}: could not be read: {escape(str(row['error_code']))}"
            continue
        written = row["text"].splitlines()
        shown = written[-_LINES:]
        yield f"{what} ({row['bytes']} bytes, the last {len(shown)} lines):"
        yield from (f"  {escape(line)}" for line in shown)
