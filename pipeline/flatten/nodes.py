"""Page bytes in, Arrow tables out, redacted: pure, with no clock, no network and no disk.

A page that fits the schema is read as columns (fast path), any other node by node (slow path).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.extract.envelope import Envelope
from pipeline.flatten import pages, shape
from pipeline.flatten.columns import EMPTY, Columns, Origin, Report, extra_json, offsets, path_name
from pipeline.flatten.start_tasks import StartTaskIdentity, StartTasks
from pipeline.flatten.unknown_fields import UnknownFields
from pipeline.flatten.validator import Problem, Steps, Validation, Validator
from pipeline.redact import Redactor

Tables = dict[str, pa.Table]

#: The lists of a node that have a table of their own.
_CHILDREN = ((schema.RECENT_TASKS, "recentTasks"), (schema.NODE_ERRORS, "errors"))


class NodeFlattener:
    """Flattens the pages of one pool's node listing, in order; not thread-safe.

    It remembers ids and start tasks: of a node that is listed twice it keeps the first, and it
    writes each start task once.
    """

    def __init__(
        self,
        origin: Origin,
        pool_id: str,
        redactor: Redactor,
        *,
        hash_key: bytes | None = None,
        unknown_fields: UnknownFields | None = None,
    ) -> None:
        self.origin = origin
        self.pool_id = pool_id
        self.redactor = redactor
        self.unknown_fields = unknown_fields or UnknownFields()
        self.report = Report()
        self.nodes = 0
        self._seen: set[str] = set()
        self._start_tasks = StartTasks(redactor, hash_key)
        self._validator = Validator(shape.NODE)

    def page(
        self, body: bytes, observed_at: datetime, envelope: Envelope | None = None
    ) -> tuple[Tables, str | None]:
        """One page of ComputeNodeListResult: its tables by name, and the envelope's next link.

        ``envelope`` is the result of ``prove`` for this body, where the caller has it.

        Raises:
            BadPage: the body is not one JSON object with a ``value`` list.
        """
        found = self._fast_path(body, envelope)
        if found is None and self._learn(pages.sample(body, envelope)):
            found = self._fast_path(body, envelope)
        if found is not None:
            rows, unknown, next_link = found
            try:
                tables = self._tables(rows, observed_at)
            except pa.ArrowInvalid:
                pass  # a string is not a time: the slow path names the node
            else:
                self.report.unknown_fields.update(unknown)
                return tables, next_link
        values, next_link = pages.read_page(body)
        return self.values(values, observed_at), next_link

    def _fast_path(
        self, body: bytes, envelope: Envelope | None
    ) -> tuple[_Rows, Counter[str], str | None] | None:
        """A page as columns, its unknown fields, its next link; None where it needs the slow path."""
        cut = self.unknown_fields.cut(body)
        if cut is None:
            return None
        lean, found = cut
        fast = pages.read_fast(lean, None if found else envelope, len(found))
        if fast is None:
            return None
        of_start_tasks = [self._start_tasks.unknown(each) for each in fast.start_tasks]
        unmet = self._unmet(fast.nodes.field("id").to_pylist())
        met = unmet.count(False)
        if None in of_start_tasks or (met and (found or any(of_start_tasks))):
            return None
        nodes = fast.nodes.filter(pa.array(unmet, pa.bool_())) if met else fast.nodes
        rows = _Rows(nodes, fast.start_tasks, duplicates=met)
        for each in found:
            if each.row:
                place = (str(each.row[0]), each.node, int(each.row[1]))
                rows.child_extra.setdefault(place, {})[each.steps] = each.value
            else:
                rows.extra.setdefault(each.node, {})[each.steps] = each.value
        paths = Counter(each.path for each in found)
        for number, unknown in enumerate(of_start_tasks):
            for steps in unknown or ():
                carriers = pc.sum(pc.equal(nodes.field("startTask"), number)).as_py()
                paths["startTask", *steps] += carriers
        counts: Counter[str] = Counter()
        for path, count in paths.items():
            counts["nodes." + path_name(path, self.redactor, any_place=True)] += count
        return rows, counts, fast.next_link

    def values(self, values: Sequence[object], observed_at: datetime) -> Tables:
        """The tables of nodes that are Python values (of a saved file, or on the slow path)."""
        ids = [value.get("id") if isinstance(value, dict) else None for value in values]
        unmet = self._unmet([str(each) if pages.is_id(each) else None for each in ids])
        rows = self._slow_path(list(compress(values, unmet)))
        rows.duplicates = unmet.count(False)
        return self._tables(rows, observed_at)

    def _learn(self, values: Sequence[object]) -> bool:
        """Returns whether some nodes have unknown fields that no node had before."""
        learned = False
        for value in values:
            _, validation = self._validate(value)
            if not validation.problems:
                learned |= self.unknown_fields.learn(validation.unknown)
        return learned

    def _unmet(self, ids: Sequence[str | None]) -> list[bool]:
        """Which nodes of a page are new in this listing.

        Nodes join and leave between pages, so that an id can come twice: the first is kept. Nodes
        without a valid id cannot be distinguished: all are kept.
        """
        met = {node_id for node_id in ids if node_id is not None}
        if len(met) == len(ids) and self._seen.isdisjoint(met):
            return [True] * len(ids)  # the usual case
        met.clear()
        unmet = []
        for node_id in ids:
            unmet.append(node_id is None or not (node_id in self._seen or node_id in met))
            if node_id is not None:
                met.add(node_id)
        return unmet

    def _slow_path(self, values: Sequence[object]) -> _Rows:
        """The rows of nodes, one by one: what does not fit becomes extra values and problems."""
        kept: list[dict[str, object]] = []
        numbers: dict[bytes, int] = {}
        rows = _Rows(pa.array([], pages.NODE_TYPE), [])
        for index, value in enumerate(values):
            node, validation = self._validate(value)
            self._count_unknown(validation)
            if validation.problems:
                kept.append(self._malformed(node, validation.problems))
                rows.malformed[index] = value
                continue
            self.unknown_fields.learn(validation.unknown)
            for row, extra in validation.extra.items():
                match row:
                    case ():
                        rows.extra[index] = extra
                    case (str(name), int(position)):
                        rows.child_extra[name, index, position] = extra
                    case _:
                        pass  # extra values of start tasks come from the start tasks
            start_task = node.get("startTask")
            if start_task is not None:
                raw = json.dumps(start_task).encode()
                node = node | {"startTask": numbers.setdefault(raw, len(numbers))}
            kept.append(node)
        rows.nodes = pa.array(kept, pages.NODE_TYPE)
        rows.start_tasks = list(numbers)
        return rows

    def _validate(self, value: object) -> tuple[dict[str, object], Validation]:
        """The node ({} if it is not an object) and what of it does not fit, first its id."""
        if not isinstance(value, dict):
            return {}, Validation(
                problems=[Problem((), f"expected a node, got {shape.kind(value)}")]
            )
        validation = self._validator.validate(value)
        if not pages.is_id(value.get("id")):
            others = (problem for problem in validation.problems if problem.steps != ("id",))
            validation.problems = [Problem(("id",), "no valid id"), *others]
        return value, validation

    def _count_unknown(self, validation: Validation) -> None:
        self.report.unknown_fields.update(
            "nodes." + path_name(steps, self.redactor, any_place=True)
            for steps in validation.unknown
        )

    def _malformed(self, node: Mapping[str, object], problems: list[Problem]) -> dict[str, object]:
        """The valid key members of a malformed node; its problems go to the report."""
        node_id = node["id"] if pages.is_id(node.get("id")) else None
        self.report.malformed += 1
        self.report.missing_ids += node_id is None
        for problem in problems:
            self.report.note(
                {
                    "pool_id": self.pool_id,
                    "node_id": None if node_id is None else str(node_id),
                    "path": path_name(problem.steps, self.redactor),
                    "problem": problem.problem,
                }
            )
        allocation_time = node.get("allocationTime")
        keys: dict[str, object] = {} if node_id is None else {"id": node_id}
        if isinstance(allocation_time, str) and shape.is_time(allocation_time):
            keys["allocationTime"] = allocation_time
        return keys

    @pages.in_turn
    def _tables(self, rows: _Rows, observed_at: datetime) -> Tables:
        """The tables of one page's rows.

        Raises:
            pa.ArrowInvalid: a string is not a time; the page then leaves no trace.
        """
        report = Report()
        nodes = Columns(schema.NODES, rows.nodes, self.redactor, report)
        children = {
            member: Columns(table, rows.nodes.field(member).flatten(), self.redactor, report)
            for table, member in _CHILDREN
        }
        columns = [nodes, *children.values()]
        masks = self.redactor.masks([text for each in columns for text in each.texts])
        for each in columns:
            each.make(masks)
        self.report.add(report)

        length, made = len(rows.nodes), nodes.made
        made["pool_id"] = pa.repeat(self.pool_id, length)
        made["observed_at"] = pa.repeat(pa.scalar(observed_at, schema.TIME), length)
        is_malformed = np.zeros(length, np.bool_)
        is_malformed[[*rows.malformed]] = True
        made["is_malformed"] = pa.array(is_malformed)
        fresh: list[StartTaskIdentity] = []
        used = set((numbers := rows.nodes.field("startTask")).unique().to_pylist())
        tasks = [
            self._start_tasks.add(raw, fresh) if number in used else None
            for number, raw in enumerate(rows.start_tasks)
        ]
        for name in ("start_task_id", "start_task_definition_id"):
            made[name] = pa.array([t and getattr(t, name) for t in tasks], pa.string()).take(
                numbers
            )
        made["extra_json"] = self._extra_json(rows, length)
        tables = {"nodes": nodes.table(self.origin)}
        for table, member in _CHILDREN:
            tables[table.name] = self._children(member, children[member], rows, tables["nodes"])
        tables["start_tasks"] = self._start_task_rows(fresh)
        self.nodes += length
        self.report.duplicates += rows.duplicates
        self._seen.update(pc.drop_null(rows.nodes.field("id")).to_pylist())
        return tables

    def _extra_json(self, rows: _Rows, length: int) -> pa.StringArray:
        if not rows.extra and not rows.malformed:
            return pa.nulls(length, pa.string())
        texts: list[str | None] = [None] * length
        for index, extra in rows.extra.items():
            texts[index] = extra_json(extra, self.redactor)
        for index, value in rows.malformed.items():
            texts[index] = json.dumps(self.redactor.json(value))
        return pa.array(texts, pa.string())

    def _children(self, member: str, values: Columns, rows: _Rows, nodes: pa.Table) -> pa.Table:
        """The rows of a list with a table of its own, with the node's keys and the position."""
        if not values.length:
            return EMPTY[values.of.name]
        lists = rows.nodes.field(member)
        parents = pc.list_parent_indices(lists)
        starts = offsets(lists)
        made = values.made
        made["pool_id"] = pa.repeat(self.pool_id, values.length)
        for key in ("node_id", "allocation_time"):
            made[key] = nodes.column(key).combine_chunks().take(parents)
        numbers = pa.array(np.arange(values.length, dtype=np.int32))
        made["position"] = pc.subtract(numbers, starts.take(parents))
        texts = np.full(values.length, None)
        for (name, index, position), extra in rows.child_extra.items():
            if name == member:
                texts[starts[index].as_py() + position] = extra_json(extra, self.redactor)
        made["extra_json"] = pa.array(texts, pa.string())
        return values.table(self.origin)

    def _start_task_rows(self, fresh: Sequence[StartTaskIdentity]) -> pa.Table:
        if not fresh:
            return EMPTY["start_tasks"]
        validator = Validator(shape.START_TASK)
        validation = [validator.validate(task.redacted) for task in fresh]
        flat = pa.array([task.redacted for task in fresh], shape.START_TASK.arrow)
        # Their texts are masked already: the id of a start task is that of its redacted form.
        values = Columns(schema.START_TASKS, flat, self.redactor, self.report).make(masks={})
        values.made["pool_id"] = pa.repeat(self.pool_id, len(fresh))
        for name in ("start_task_id", "start_task_definition_id", "start_task_fingerprint"):
            values.made[name] = pa.array([getattr(task, name) for task in fresh], pa.string())
        values.made["extra_json"] = pa.array(
            [extra_json(each.extra.get((), {}), self.redactor) for each in validation], pa.string()
        )
        return values.table(self.origin)


@dataclass
class _Rows:
    """A page's nodes as read, and the values that no column holds, by row.

    A node's ``startTask`` is an index into ``start_tasks``.
    """

    nodes: pa.StructArray
    start_tasks: list[bytes]
    extra: dict[int, dict[Steps, object]] = field(default_factory=dict)
    child_extra: dict[tuple[str, int, int], dict[Steps, object]] = field(default_factory=dict)
    malformed: dict[int, object] = field(default_factory=dict)
    duplicates: int = 0

    def __post_init__(self) -> None:
        """Adds empty lists to the extra values: a list without elements has no rows in its table."""
        for member in ("recentTasks", "errors"):
            empty = pc.equal(pc.list_value_length(self.nodes.field(member)), 0)
            for index in pc.indices_nonzero(pc.fill_null(empty, False)).to_pylist():
                self.extra.setdefault(index, {})[(member,)] = []
