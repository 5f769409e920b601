"""The files on a node: the root's directories, and those of the start task."""

from dataclasses import dataclass

from .nodes import Node
from .start_task_logs import start_task_logs

_ROOT = ("applications", "fsmounts", "shared", "volatile", "workitems")


@dataclass(frozen=True)
class NodeFile:
    """A file or directory; ``path`` has slashes, times are microseconds since 1970."""

    path: str
    content: bytes | None  # None: a directory
    modified_at: int
    created_at: int

    @property
    def is_directory(self) -> bool:
        """Return whether it is a directory."""
        return self.content is None


def node_files(node: Node, now: int) -> list[NodeFile]:
    """Return every file and directory of a node, sorted by path."""
    booted = node.booted_at or node.allocated_at
    found = [NodeFile(name, None, booted, booted) for name in _ROOT]
    info = node.start_task_info
    if info is not None and node.plan.config.start_task.is_present:
        begun = info.started_at
        changed = now if info.ended_at is None else info.ended_at
        found += [NodeFile(name, None, begun, begun) for name in ("startup", "startup/wd")]
        logs = start_task_logs(node, now)
        if logs is not None:
            for name, content in zip(("stdout", "stderr"), logs, strict=True):
                found.append(NodeFile(f"startup/{name}.txt", content, changed, begun))
            if node.plan.config.profile == "windows":
                text = f"set AZ_BATCH_POOL_ID={node.plan.config.id}\r\n".encode()
                found.append(NodeFile("startup/ProcessEnv.cmd", text, begun, begun))
    return sorted(found, key=lambda file: file.path)
