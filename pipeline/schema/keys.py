"""Columns and vocabularies that several tables share."""

from __future__ import annotations

from pipeline.schema.columns import INT, TEXT, TIME, Column

#: Vocabularies are lower-cased: the service's case differs from the specification.
LISTING = ("complete", "partial", "failed")
RESULT, CATEGORY = ("success", "failure"), ("usererror", "servererror")

# fmt: off
# ruff: noqa: E501 - a column is one line: that is what makes this file readable as a table
DETAIL_NAME = Column("name", TEXT, "name", "Name of the detail.", "text")
DETAIL_VALUE = Column("value", TEXT, "value", "Value of the detail.", "text")

KEYS = (
    Column("account", TEXT, None, "Batch account: name.region of its endpoint, or the label in nodelake.toml."),
    Column("snapshot_id", TEXT, None, "The snapshot this row belongs to: YYYYMMDDTHHMMSSZ-<8 hex>, sorts by time."),
    Column("snapshot_at", TIME, None, "When the snapshot began, by this machine's clock (an import's: its --at)."),
)
NODE_KEYS = (
    *KEYS,
    Column("pool_id", TEXT, None, "Pool the node was listed in."),
    Column("node_id", TEXT, "id", "Id of the node; the service may reuse it once the node is gone."),
    Column("allocation_time", TIME, "allocationTime", "When the node was allocated; fixed for an incarnation of its id."),
)
CHILD_KEYS = (
    *KEYS,
    Column("pool_id", TEXT, None, "Pool the node was listed in."),
    Column("node_id", TEXT, None, "Node this row belongs to."),
    Column("allocation_time", TIME, None, "Allocation time of that node: with its id, one incarnation."),
    Column("position", INT, None, "Place in the node's array, from 0."),
)
EXTRA = Column("extra_json", TEXT, None, "What no column holds, redacted: path -> unknown value, explicit null, empty object or empty list.", "text")
# fmt: on
