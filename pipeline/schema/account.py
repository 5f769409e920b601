"""The tables ``start_task_output`` and ``supported_images``."""

from __future__ import annotations

from pipeline.schema.columns import COUNT, FLAG, INT, TEXT, TIME, Column, Table, text_list_column
from pipeline.schema.keys import EXTRA, KEYS

_OS, _VERIFICATION = ("linux", "windows"), ("verified", "unverified")

# fmt: off
# ruff: noqa: E501 - a column is one line: that is what makes this file readable as a table
START_TASK_OUTPUT = Table("start_task_output", "snapshot x node x file", "The end of what failed start tasks wrote; only with --capture-start-task-output.", order=("pool_id", "node_id", "snapshot_id", "file"), columns=(
    *KEYS,
    Column("pool_id", TEXT, None, "Pool the node was listed in."),
    Column("node_id", TEXT, None, "Node whose start task failed."),
    Column("allocation_time", TIME, None, "Allocation time of that node: with its id, one incarnation."),
    Column("start_time", TIME, None, "When the failed run of the start task began."),
    Column("exit_code", INT, None, "Its exit code."),
    Column("file", TEXT, None, "Which file: stdout (startup/stdout.txt) or stderr (startup/stderr.txt).", enum=("stdout", "stderr")),
    Column("text", TEXT, None, "The last 4 KiB of the file, redacted; bytes that are not UTF-8 read \\xNN. Null where it could not be read.", "text"),
    Column("bytes", COUNT, None, "Size of the whole file on the node. Null where it could not be read."),
    Column("is_truncated", FLAG, None, "Whether the file holds more than text does. Null where it could not be read."),
    Column("observed_at", TIME, None, "When it was read, by the service's clock. Null where it could not be read."),
    Column("error_code", TEXT, None, "Why it could not be read: the service's code (NodeNotFound, FileNotFound), or HTTP and a status.", "text"),
))

SUPPORTED_IMAGES = Table("supported_images", "snapshot x node agent SKU x image", "Images of virtual machines that the service supports (/supportedimages), once a UTC day and account.", order=("publisher", "offer", "sku", "node_agent_sku_id", "snapshot_id"), columns=(
    *KEYS,
    Column("node_agent_sku_id", TEXT, "nodeAgentSKUId", "Node agent that goes with the image.", "text"),
    Column("publisher", TEXT, "imageReference.publisher", "Publisher of the image.", "text"),
    Column("offer", TEXT, "imageReference.offer", "Offer of the image.", "text"),
    Column("sku", TEXT, "imageReference.sku", "SKU of the image.", "text"),
    Column("version", TEXT, "imageReference.version", "Version of the image; mostly latest.", "text"),
    Column("exact_version", TEXT, "imageReference.exactVersion", "Exact version; not expected here.", "text"),
    Column("virtual_machine_image_id", TEXT, "imageReference.virtualMachineImageId", "Resource id of a custom image; not expected here.", "text"),
    Column("shared_gallery_image_id", TEXT, "imageReference.sharedGalleryImageId", "Id of a shared gallery image; not expected here.", "text"),
    Column("community_gallery_image_id", TEXT, "imageReference.communityGalleryImageId", "Id of a community gallery image; not expected here.", "text"),
    Column("os_type", TEXT, "osType", "Operating system of the image.", enum=_OS),
    Column("verification_type", TEXT, "verificationType", "Whether Microsoft checks the image against the node agent.", enum=_VERIFICATION),
    text_list_column("capabilities", "capabilities", "What it can do, such as DockerCompatible; an open list."),
    Column("batch_support_end_of_life", TIME, "batchSupportEndOfLife", "After this date no pool can be created with it; null where no date is known."),
    EXTRA,
))
# fmt: on
