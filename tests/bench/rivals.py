"""Other ways from the same page bytes to the same facts, each as its own documentation has it.

Every rival gives back what it made of the pages, so that outputs are compared before times are; the
rivals' packages are the extra ``bench``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

Fact = tuple[Any, ...]
ERRORS = 1000


def microseconds(time: str | datetime) -> int:
    """A time as the microseconds since 1970, finer digits cut off."""
    if isinstance(time, str):
        time = datetime.fromisoformat(f"{time.removesuffix('Z')[:26]}+00:00")
    seconds = datetime(1970, 1, 1, tzinfo=UTC)
    return (time - seconds) // (datetime.resolution)


def read_with_orjson(pages: Sequence[bytes]) -> None:
    """The floor: Python objects, and nothing made of them."""
    import orjson

    for body in pages:
        orjson.loads(body)


def facts_of_values(pages: Iterable[bytes]) -> list[Fact]:
    """The facts as plain Python reads them."""
    return sorted(fact for body in pages for fact in _facts(json.loads(body)["value"]))


def _facts(values: Iterable[Any]) -> Iterator[Fact]:
    """A fact a node, its start task, each task and each error.

    All have the node's id and a number of their own, so that they sort: a task its place, an error the
    same less ``ERRORS``.
    """
    for node in values:
        yield (
            *(node["id"], -1, node["state"], node["totalTasksRun"]),
            microseconds(node["allocationTime"]),
            node["virtualMachineInfo"]["imageReference"]["exactVersion"],
        )
        start_task = node["startTask"]
        retries = start_task["maxTaskRetryCount"]
        yield node["id"], -2, start_task["commandLine"], retries, start_task["waitForSuccess"]
        for position, error in enumerate(node.get("errors", ())):
            yield node["id"], position - ERRORS, error["code"], error["message"]
        for position, task in enumerate(node["recentTasks"]):
            info = task["executionInfo"]
            failure = info.get("failureInfo") or {}
            yield (
                *(node["id"], position, task["taskId"], info["exitCode"]),
                microseconds(info["endTime"]),
                failure.get("code") or "",
            )


# --- azure-batch ---


def read_with_sdk(pages: Sequence[bytes]) -> list[Any]:
    """``list_nodes`` of azure-batch over a transport that serves the pages, every field touched."""
    from azure.batch import BatchClient
    from azure.core.credentials import AzureNamedKeyCredential

    client = BatchClient(
        "https://acct.westeurope.batch.azure.com",
        AzureNamedKeyCredential("acct", "a2V5"),
        transport=_transport(pages),
    )
    nodes = list(client.list_nodes("pool1"))
    for node in nodes:
        _touch(node)
    return nodes


def _transport(pages: Sequence[bytes]) -> Any:
    """What azure-core sends with: page n links to page n + 1."""
    import requests
    from azure.core.pipeline.transport import HttpTransport
    from azure.core.rest._requests_basic import RestRequestsTransportResponse
    from urllib3 import HTTPResponse

    class Served(HttpTransport):
        def __init__(self) -> None:
            self.at = 0

        def __exit__(self, *_: object) -> None: ...

        def open(self) -> None: ...

        def close(self) -> None: ...

        def send(self, request: Any, **_: Any) -> Any:
            body, self.at = pages[self.at], self.at + 1
            if self.at < len(pages):
                link = f"https://acct.westeurope.batch.azure.com/pools/pool1/nodes?skip={self.at}"
                body = b'{"odata.nextLink":"%b",%b' % (link.encode(), body[1:])
            response = requests.Response()
            response.status_code = 200
            response.raw = HTTPResponse(BytesIO(body), status=200, preload_content=False)
            response.headers["Content-Type"] = "application/json;odata=minimalmetadata"
            return RestRequestsTransportResponse(request=request, internal_response=response)

    return Served()


def _touch(model: Any) -> None:
    """Reads every attribute of a model and of the models in it: until then they are not made."""
    for name in model._attr_to_rest_field:
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "_attr_to_rest_field"):
                _touch(inner)


def facts_of_sdk(nodes: Iterable[Any]) -> list[Fact]:
    """The facts, from the models' attributes."""
    found: list[Fact] = []
    for node in nodes:
        image = node.virtual_machine_info.image_reference.exact_version
        allocated = microseconds(node.allocation_time)
        found.append(
            (node.id, -1, node.state.value, node.total_tasks_run, allocated, image),
        )
        task = node.start_task
        retries = task.max_task_retry_count
        found.append((node.id, -2, task.command_line, retries, task.wait_for_success))
        for position, error in enumerate(node.errors or ()):
            found.append((node.id, position - ERRORS, error.code, error.message))
        for position, task in enumerate(node.recent_tasks):
            info = task.execution_info
            code = info.failure_info.code if info.failure_info else ""
            end = microseconds(info.end_time)
            found.append((node.id, position, task.task_id, info.exit_code, end, code))
    return sorted(found)


# --- dlt ---


def read_with_dlt(pages: Sequence[bytes], folder: Path) -> Path:
    """A resource of the pages' dicts, loaded as Parquet files by dlt's filesystem destination."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    def nodes() -> Iterator[Any]:
        for body in pages:
            yield json.loads(body)["value"]

    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(folder / "state"),
        destination=dlt.destinations.filesystem(bucket_url=str(folder / "lake")),
        dataset_name="bench",
    )
    pipeline.run(dlt.resource(nodes, name="nodes"), loader_file_format="parquet")
    return folder / "lake" / "bench"


def facts_of_dlt(folder: Path) -> list[Fact]:
    """The facts, from the files it wrote."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    nodes = f"'{folder}/nodes/*.parquet'"
    asked = (
        f"""select id, -1, state, total_tasks_run, epoch_us(allocation_time),
            virtual_machine_info__image_reference__exact_version
        from {nodes}""",
        f"""select id, -2, start_task__command_line, start_task__max_task_retry_count,
            start_task__wait_for_success
        from {nodes}""",
        f"""select node.id, error._dlt_list_idx - {ERRORS}, error.code, error.message
        from '{folder}/nodes__errors/*.parquet' as error
        join {nodes} as node on error._dlt_parent_id = node._dlt_id""",
        f"""select node.id, task._dlt_list_idx, task_id, execution_info__exit_code,
            epoch_us(execution_info__end_time),
            coalesce(execution_info__failure_info__code, '')
        from '{folder}/nodes__recent_tasks/*.parquet' as task
        join {nodes} as node on task._dlt_parent_id = node._dlt_id""",
    )
    return sorted(fact for query in asked for fact in connection.execute(query).fetchall())


# --- pandas ---


def read_with_pandas(pages: Sequence[bytes], folder: Path) -> Path:
    """``json_normalize`` to a frame a table, times as times, each written as Parquet.

    A list is a frame by its ``record_path``, with its node's id as ``meta``; nodes without that list
    are left out, for json_normalize wants it in each. Start tasks are compared by their JSON.
    """
    import pandas

    values = [node for body in pages for node in json.loads(body)["value"]]
    tables = ("recentTasks", "errors", "startTask")
    plain = [{name: x for name, x in node.items() if name not in tables} for node in values]
    nodes = pandas.json_normalize(plain)
    texts = [json.dumps(node["startTask"], sort_keys=True) for node in values]
    numbers, distinct = pandas.factorize(pandas.Series(texts))
    ids = pandas.Series([hashlib.sha256(text.encode()).hexdigest() for text in distinct])
    nodes["startTaskId"] = ids.take(numbers).array
    start_tasks = pandas.json_normalize([json.loads(text) for text in distinct])
    start_tasks["startTaskId"] = ids
    frames = {"nodes": nodes, "start_tasks": start_tasks}
    for name in ("recentTasks", "errors"):
        having = [node for node in values if name in node]
        frames[name] = pandas.json_normalize(having, name, ["id", "allocationTime"])
    for name, frame in frames.items():
        for column in frame.columns:
            if column.endswith("Time"):
                frame[column] = pandas.to_datetime(frame[column], format="ISO8601", utc=True)
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def facts_of_pandas(folder: Path) -> list[Fact]:
    """The facts, from the files it wrote."""
    import pandas

    read = {path.stem: pandas.read_parquet(path) for path in folder.glob("*.parquet")}
    image = "virtualMachineInfo.imageReference.exactVersion"
    columns = ["id", "state", "totalTasksRun", "allocationTime", image]
    found: list[Fact] = [
        (node_id, -1, state, run, microseconds(at.to_pydatetime(warn=False)), exact)
        for node_id, state, run, at, exact in read["nodes"][columns].itertuples(index=False)
    ]
    columns = ["id", "commandLine", "maxTaskRetryCount", "waitForSuccess"]
    started = read["nodes"][["id", "startTaskId"]].merge(read["start_tasks"], on="startTaskId")
    found += [(key, -2, *rest) for key, *rest in started[columns].itertuples(index=False)]
    errors = read["errors"]
    errors["position"] = errors.groupby("id").cumcount() - ERRORS
    found += errors[["id", "position", "code", "message"]].itertuples(index=False, name=None)
    tasks = read["recentTasks"]
    tasks["position"] = tasks.groupby("id").cumcount()
    info = "executionInfo."
    columns = ["id", "position", "taskId", f"{info}exitCode", f"{info}endTime"]
    columns.append(f"{info}failureInfo.code")
    found += [
        (*key, microseconds(end.to_pydatetime(warn=False)), code if isinstance(code, str) else "")
        for *key, end, code in tasks[columns].itertuples(index=False)
    ]
    return sorted(found)
