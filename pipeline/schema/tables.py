"""Every table of a lake by name, and the ledger, which counts the rows of the others."""

from __future__ import annotations

from pipeline.schema.account import START_TASK_OUTPUT, SUPPORTED_IMAGES
from pipeline.schema.columns import COUNT, REAL, TEXT, TIME, Column, Table, list_column
from pipeline.schema.keys import KEYS, LISTING
from pipeline.schema.nodes import NODE_ERRORS, NODES, RECENT_TASKS
from pipeline.schema.pools import POOL_ERRORS, POOL_USAGE, POOLS
from pipeline.schema.start_tasks import START_TASKS

#: The tables of observations, in the order they are written.
DATA_TABLES = (
    POOLS,
    NODES,
    START_TASKS,
    RECENT_TASKS,
    NODE_ERRORS,
    POOL_ERRORS,
    START_TASK_OUTPUT,
    SUPPORTED_IMAGES,
    POOL_USAGE,
)

# fmt: off
# ruff: noqa: E501 - a column is one line: that is what makes this file readable as a table
SNAPSHOTS = Table("snapshots", "snapshot", "The ledger: one row a run, failed ones too. What has no row here does not exist.", order=("snapshot_id",), columns=(
    *KEYS,
    Column("started_at", TIME, None, "When the run began, by this machine's clock."),
    Column("finished_at", TIME, None, "When the run was committed, by this machine's clock."),
    Column("batch_url", TEXT, None, "Endpoint of the account.", "text"),
    Column("api_version", TEXT, None, "api-version that the service answered in.", "text"),
    Column("configured_api_version", TEXT, None, "api-version that was configured; another one where the service refused it.", "text"),
    Column("source", TEXT, None, "Where the rows come from: live, import or usage.", enum=("live", "import", "usage")),
    Column("scope", TEXT, None, "Whole account, or some pools only.", enum=("account", "pools")),
    Column("status", TEXT, None, "How it went: complete, partial or failed.", enum=LISTING),
    Column("pool_listing", TEXT, None, "Whether every page of the pools was read.", enum=LISTING),
    Column("pool_listing_started_at", TIME, None, "Service's clock at the first page of the pools."),
    Column("pool_listing_finished_at", TIME, None, "Service's clock at the last page of the pools."),
    Column("pools_listed", COUNT, None, "Pools that were listed."),
    Column("pools_complete", COUNT, None, "Pools whose nodes were listed completely."),
    Column("pools_failed", COUNT, None, "Pools whose nodes were not listed completely."),
    *(Column(f"{table.name}_rows", COUNT, None, f"Rows written to {table.name}.") for table in DATA_TABLES),
    Column("requests", COUNT, None, "HTTP requests sent, retries included."),
    Column("retries", COUNT, None, "Requests sent again after a failure."),
    Column("throttled", COUNT, None, "Answers 429 or 503."),
    Column("bytes_received", COUNT, None, "Bytes of bodies as they came over the wire."),
    Column("duplicates", COUNT, None, "Nodes met twice in a listing, kept once."),
    Column("malformed", COUNT, None, "Nodes with a value of the wrong type or without a valid id, and pools with such a value."),
    Column("unknown_fields", COUNT, None, "Values of fields the schema does not name; kept in extra_json."),
    list_column("unknown_field_paths", None, "Those fields by name.",
        Column("path", TEXT, None, "Table and JSON path of the field.", "text"),
        Column("values", COUNT, None, "How many values it had.")),
    list_column("unknown_enum_values", None, "Values outside the known vocabularies; kept as they are.",
        Column("path", TEXT, None, "Table and column.", "text"),
        Column("value", TEXT, None, "The value, lower-cased.", "text"),
        Column("values", COUNT, None, "How many times it was met.")),
    list_column("problems", None, "What was malformed: the first 100.",
        Column("pool_id", TEXT, None, "Pool of the node."),
        Column("node_id", TEXT, None, "The node, where its id is valid."),
        Column("path", TEXT, None, "JSON path of the value.", "text"),
        Column("problem", TEXT, None, "What was expected, and what came.", "text")),
    Column("clock_skew_seconds", REAL, None, "Service's clock less this machine's."),
    Column("error_code", TEXT, None, "Code of what made the run fail.", "text"),
    Column("error_message", TEXT, None, "What made the run fail.", "text"),
    Column("request_id", TEXT, None, "The service's request-id of that failure.", "text"),
    Column("tool_version", TEXT, None, "Version of nodelake that wrote it."),
))
# fmt: on

#: Every table, the ledger last: its file commits a snapshot.
TABLES: dict[str, Table] = {table.name: table for table in (*DATA_TABLES, SNAPSHOTS)}
