"""The facts about nodes, row by row from the record: states, incarnations, set-ups, boots, errors.

Where the contract is silent, a comment that begins with "Reading:" says how it is read here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulator.record import Node, Record, Row

Table = list[dict[str, Any]]

IMAGE = {
    "image_publisher": "publisher",
    "image_offer": "offer",
    "image_sku": "sku",
    "image_exact_version": "exactVersion",
    "image_virtual_machine_image_id": "virtualMachineImageId",
}


def image_of(row: Row) -> dict[str, Any]:
    """The columns of a row's image."""
    path = ("virtualMachineInfo", "imageReference")
    return {column: row.value(*path, name) for column, name in IMAGE.items()}


def start_task_of(row: Row) -> tuple[str | None, str | None]:
    """Names of a row's start task and of its definition: another renewal is no other definition.

    ``compare`` gives the lake's hashes the same names.
    """
    command = row.value("startTask", "commandLine")
    if command is None:
        return None, None
    url = row.value("startTask", "resourceFiles")[0]["httpUrl"]
    return f"{command} {url.partition('&')[0]}", command


def last_known(rows: Iterable[Row], of: Callable[[Row], Any]) -> Any:
    """The last value that is not None: what is known, a later row that lacks it does not undo."""
    known = None
    for row in rows:
        value = of(row)
        known = known if value is None else value
    return known


def machine_of(rows: list[Row]) -> dict[str, Any]:
    """The columns vm_size and is_dedicated, as last known."""
    return {
        "vm_size": last_known(rows, lambda row: row.value("vmSize")),
        "is_dedicated": last_known(rows, lambda row: row.value("isDedicated")),
    }


def image_known(rows: list[Row]) -> dict[str, Any]:
    """The columns of the image, as last known."""
    return {name: last_known(rows, lambda row, n=name: image_of(row)[n]) for name in IMAGE}  # type: ignore[misc]


def seen(rows: list[Row]) -> dict[str, Any]:
    """The columns of first and last observation."""
    return {"first_observed_at": rows[0].observed_at, "last_observed_at": rows[-1].observed_at}


@dataclass(eq=False)
class Stay:
    """A state of a node with its start, and the rows that showed it."""

    state: str
    since: datetime
    rows: list[Row]

    @property
    def first_observed_at(self) -> datetime:
        """By its first row."""
        return self.rows[0].observed_at

    @property
    def last_observed_at(self) -> datetime:
        """By its last row."""
        return self.rows[-1].observed_at


def stays(node: Node) -> list[Stay]:
    """The states that a node was listed in, in order."""
    found: dict[tuple[str, datetime], list[Row]] = defaultdict(list)
    for row in node.rows:
        state, since = row.state, row.time("stateTransitionTime")
        if state is not None and since is not None:
            found[state, since].append(row)
    made = [Stay(state, since, rows) for (state, since), rows in found.items()]
    return sorted(made, key=lambda stay: (stay.first_observed_at, stay.since, stay.state))


def followed(own: list[Stay]) -> Iterator[tuple[Stay, Stay | None]]:
    """Each with the one after it; the last with None."""
    for number, stay in enumerate(own):
        yield stay, own[number + 1] if number + 1 < len(own) else None


def node_states(record: Record) -> Table:
    """Every state a node was listed in. Its start is exact, its end lies between two bounds."""
    made = []
    for node in record.nodes:
        for stay, following in followed(stays(node)):
            ended = following.since if following else node.ended_before
            after = None
            if ended is not None:
                # What 2 seconds between two clocks would make end before it began ends then.
                ended = max(ended, stay.since)
            after = max(stay.since, min(stay.last_observed_at, ended or stay.last_observed_at))
            made.append(
                node.key
                | {"state": stay.state, "state_transition_time": stay.since}
                | seen(stay.rows)
                | machine_of(stay.rows)
                | {
                    "ended_after": after,
                    "ended_before": ended,
                    "next_state": following.state if following else None,
                }
            )
    return made


def node_incarnations(record: Record) -> Table:
    """Every node that was ever listed: when it was seen, what it was, how it ended."""
    made = []
    for node in record.nodes:
        ended = node.ended_before
        ended_by = None
        if ended is not None and ended == node.absent_at:
            ended_by = "pool_absent" if node.is_pool_absent else "absent"
        elif ended is not None:
            ended_by = "id_reused"
        made.append(
            node.key
            | seen(node.rows)
            | machine_of(node.rows)
            | image_known(node.rows)
            | {
                "last_state": last_known(node.rows, lambda row: row.state),
                "total_tasks_run": last_known(node.rows, lambda row: row.value("totalTasksRun")),
                "total_tasks_succeeded": last_known(
                    node.rows, lambda row: row.value("totalTasksSucceeded")
                ),
                "absent_at": node.absent_at,
                "is_pool_absent": node.is_pool_absent,
                "ended_after": None if ended is None else min(node.last_observed_at, ended),
                "ended_before": ended,
                "ended_by": ended_by,
            }
        )
    return made


def configuration(row: Row) -> dict[str, Any]:
    """What a node is set up with, as columns."""
    start_task, definition = start_task_of(row)
    return (
        {"node_agent_version": row.value("nodeAgentInfo", "version")}
        | image_of(row)
        | {
            "start_task_id": start_task,
            "start_task_definition_id": definition,
            "scheduling_state": row.value("schedulingState"),
        }
    )


def node_config_intervals(record: Record) -> Table:
    """What a node was set up with: readable rows that follow each other with the same values."""
    made = []
    for node in record.nodes:
        islands: list[list[Row]] = []
        for row in node.readable:
            if islands and configuration(islands[-1][-1]) == configuration(row):
                islands[-1].append(row)
            else:
                islands.append([row])
        for number, rows in enumerate(islands):
            before = islands[number - 1][-1].observed_at if number else None
            after = islands[number + 1][0].observed_at if number + 1 < len(islands) else None
            made.append(
                node.key
                | configuration(rows[0])
                | seen(rows)
                | machine_of(rows)
                | {"started_after": before, "ended_before": after}
            )
    return made


def node_boots(record: Record) -> Table:
    """Every boot of a node that was ever seen."""
    made = []
    for node in record.nodes:
        by_boot: dict[datetime, list[Row]] = defaultdict(list)
        for row in node.rows:
            boot = row.time("lastBootTime")
            if boot is not None:
                by_boot[boot].append(row)
        for boot, rows in by_boot.items():
            made.append(
                node.key | {"boot_time": boot} | seen(rows) | machine_of(rows) | image_known(rows)
            )
    return made


def errors_of(row: Row) -> dict[str, str | None]:
    """The errors a row shows: code (empty where it has none) and message."""
    return {error.get("code") or "": error.get("message") for error in row.value("errors") or []}


def node_error_episodes(record: Record) -> Table:
    """Times in which every readable row of a node showed an error of one code."""
    made = []
    for node in record.nodes:
        rows = node.readable
        for code in sorted({code for row in rows for code in errors_of(row)}):
            shown = [code in errors_of(row) for row in rows]
            first = 0
            for index, is_shown in enumerate(shown):
                if is_shown and (index == 0 or not shown[index - 1]):
                    first = index
                if not is_shown or (index + 1 < len(rows) and shown[index + 1]):
                    continue
                episode = rows[first : index + 1]
                message = last_known(episode, lambda row, c=code: errors_of(row)[c])  # type: ignore[misc]
                before = rows[first - 1].observed_at if first else None
                after = rows[index + 1].observed_at if index + 1 < len(rows) else None
                made.append(
                    node.key
                    | {"code": code, "message": message}
                    | seen(episode)
                    | machine_of(episode)
                    | {"started_after": before, "ended_before": after}
                )
    return made
