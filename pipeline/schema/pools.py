"""Tables made from a pool and from its usage: ``pools``, ``pool_errors``, ``pool_usage``."""

from __future__ import annotations

from pipeline.schema.columns import COUNT, FLAG, INT, REAL, TEXT, TIME, Column, Table, list_column
from pipeline.schema.keys import DETAIL_NAME, DETAIL_VALUE, EXTRA, KEYS, LISTING

_POOL_STATE, _ALLOCATION = ("active", "deleting"), ("steady", "resizing", "stopping")
_COMMUNICATION = ("default", "classic", "simplified")

# fmt: off
# ruff: noqa: E501 - a column is one line: that is what makes this file readable as a table
POOLS = Table("pools", "snapshot x pool", "A pool as listed, and how the listing of its nodes went.", order=("pool_id", "snapshot_id"), columns=(
    *KEYS,
    Column("pool_id", TEXT, "id", "Id of the pool."),
    Column("listing", TEXT, None, "Whether every page of its nodes was read: complete, partial or failed.", enum=LISTING),
    Column("listing_started_at", TIME, None, "Service's clock at the first page of its nodes."),
    Column("listing_finished_at", TIME, None, "Service's clock at the last page of its nodes."),
    Column("nodes_listed", COUNT, None, "Distinct nodes that were listed."),
    Column("nodes_counted", COUNT, None, "Nodes that /nodecounts counted; it may lag: a soft check."),
    Column("error_code", TEXT, None, "Code of what went wrong with the listing.", "text"),
    Column("error_message", TEXT, None, "What went wrong with the listing.", "text"),
    Column("request_id", TEXT, None, "The service's request-id of the failure.", "text"),
    Column("display_name", TEXT, "displayName", "Display name.", "text"),
    Column("url", TEXT, "url", "URL of the pool.", "text"),
    Column("etag", TEXT, "eTag", "Changes when the pool changes.", "text"),
    Column("last_modified", TIME, "lastModified", "When its pool-level data last changed."),
    Column("creation_time", TIME, "creationTime", "When it was created."),
    Column("state", TEXT, "state", "State of the pool.", enum=_POOL_STATE),
    Column("state_transition_time", TIME, "stateTransitionTime", "When it entered that state."),
    Column("allocation_state", TEXT, "allocationState", "Whether it is resizing.", enum=_ALLOCATION),
    Column("allocation_state_transition_time", TIME, "allocationStateTransitionTime", "When it entered that allocation state."),
    Column("vm_size", TEXT, "vmSize", "Size of its virtual machines.", "text"),
    Column("resize_timeout", TEXT, "resizeTimeout", "Timeout of the last resize, ISO 8601 duration.", "text"),
    Column("current_dedicated_nodes", INT, "currentDedicatedNodes", "Dedicated nodes now."),
    Column("current_low_priority_nodes", INT, "currentLowPriorityNodes", "Spot nodes now, preempted ones included."),
    Column("target_dedicated_nodes", INT, "targetDedicatedNodes", "Dedicated nodes wanted."),
    Column("target_low_priority_nodes", INT, "targetLowPriorityNodes", "Spot nodes wanted."),
    Column("enable_auto_scale", FLAG, "enableAutoScale", "Whether its size is computed."),
    Column("auto_scale_formula", TEXT, "autoScaleFormula", "The autoscale formula.", "text"),
    Column("auto_scale_evaluation_interval", TEXT, "autoScaleEvaluationInterval", "How often it is evaluated, ISO 8601 duration.", "text"),
    Column("auto_scale_run_time", TIME, "autoScaleRun.timestamp", "When it was last evaluated."),
    Column("auto_scale_run_results", TEXT, "autoScaleRun.results", "What that evaluation gave: $variable=value, joined by semicolons.", "text"),
    Column("enable_inter_node_communication", FLAG, "enableInterNodeCommunication", "Whether nodes may talk to each other."),
    Column("task_slots_per_node", INT, "taskSlotsPerNode", "Task slots on each node."),
    Column("target_node_communication_mode", TEXT, "targetNodeCommunicationMode", "Communication mode wanted.", enum=_COMMUNICATION),
    Column("current_node_communication_mode", TEXT, "currentNodeCommunicationMode", "Communication mode now.", enum=_COMMUNICATION),
    Column("configuration_json", TEXT, None, "Everything deeper of the pool's definition, redacted.", "text"),
    EXTRA,
))

POOL_ERRORS = Table("pool_errors", "snapshot x pool x kind x position", "What kept a pool from its size when it was listed: errors of its last resize, and of its last autoscale run.", order=("pool_id", "kind", "snapshot_id", "position"), columns=(
    *KEYS,
    Column("pool_id", TEXT, None, "Pool the error is of."),
    Column("kind", TEXT, None, "What failed: resize (resizeErrors) or autoscale (autoScaleRun.error).", enum=("resize", "autoscale")),
    Column("position", INT, None, "Place in resizeErrors, from 0; 0 for autoscale."),
    Column("code", TEXT, "code", "Code of the error.", "text"),
    Column("message", TEXT, "message", "Message of the error.", "text"),
    list_column("error_details", "values", "Details of the error.", DETAIL_NAME, DETAIL_VALUE),
    EXTRA,
))

POOL_USAGE = Table("pool_usage", "snapshot x pool x vm_size x interval", "Core-hours as the service counts them (/poolusagemetrics).", order=("pool_id", "vm_size", "start_time", "snapshot_id"), columns=(
    *KEYS,
    Column("pool_id", TEXT, "poolId", "Pool the hours were used in."),
    Column("vm_size", TEXT, "vmSize", "Size of its virtual machines.", "text"),
    Column("start_time", TIME, "startTime", "Start of the interval."),
    Column("end_time", TIME, "endTime", "End of the interval."),
    Column("total_core_hours", REAL, "totalCoreHours", "Core-hours used in it."),
    EXTRA,
))
# fmt: on

#: Fields of a pool without columns of their own, stored together as pools.configuration_json.
POOL_CONFIGURATION = tuple(
    "virtualMachineConfiguration networkConfiguration startTask "
    "certificateReferences applicationPackageReferences taskSchedulingPolicy userAccounts metadata "
    "stats mountConfiguration identity upgradePolicy resourceTags "
    "vmSkuProfile".split()
)
