"""The tables and facts of a lake, declared: a column is one line, and nowhere else."""

from pipeline.schema.account import START_TASK_OUTPUT, SUPPORTED_IMAGES
from pipeline.schema.columns import (
    COUNT,
    FLAG,
    INT,
    REAL,
    REDACTED,
    SCHEMA_VERSION,
    TEXT,
    TIME,
    Column,
    Table,
)
from pipeline.schema.nodes import NODE_ERRORS, NODE_STATES, NODES, RECENT_TASKS
from pipeline.schema.pools import POOL_CONFIGURATION, POOL_ERRORS, POOL_USAGE, POOLS
from pipeline.schema.start_tasks import START_TASKS
from pipeline.schema.tables import DATA_TABLES, SNAPSHOTS, TABLES

__all__ = [
    "COUNT",
    "DATA_TABLES",
    "FLAG",
    "INT",
    "NODES",
    "NODE_ERRORS",
    "NODE_STATES",
    "POOLS",
    "POOL_CONFIGURATION",
    "POOL_ERRORS",
    "POOL_USAGE",
    "REAL",
    "RECENT_TASKS",
    "REDACTED",
    "SCHEMA_VERSION",
    "SNAPSHOTS",
    "START_TASKS",
    "START_TASK_OUTPUT",
    "SUPPORTED_IMAGES",
    "TABLES",
    "TEXT",
    "TIME",
    "Column",
    "Table",
]
