"""Tasks as a node sees them: the entries of its recentTasks window, and how they fail."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from ..truth import TaskRun


class TaskFailure(NamedTuple):
    """Why a task or start task failed: its failureInfo."""

    category: str
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()
    exit_code: int | None = None
    container_error: str | None = None
    is_retried: bool = False  # only a non-zero exit code is retried


@dataclass(slots=True, eq=False)
class Task:
    """A task that runs or ran on a node; times are microseconds since 1970."""

    job_id: str
    task_id: str
    subtask_id: int | None = None
    state: str = "running"
    started_at: int = 0
    ended_at: int | None = None
    exit_code: int | None = None
    failure: TaskFailure | None = None
    retry_count: int = 0
    last_retry_at: int | None = None
    requeue_count: int = 0
    last_requeue_at: int | None = None
    container_id: str | None = None
    record: TaskRun | None = None

    @property
    def is_completed(self) -> bool:
        """Return whether the task is over."""
        return self.state == "completed"


def exit_code_failure(code: int) -> TaskFailure:
    """Return the failure of a process that ended with this code; its text is from recordings."""
    message = "The task exited with an exit code representing a failure"
    return TaskFailure(
        "UserError", "FailureExitCode", message, (("Message", message),), code, is_retried=True
    )


def task_failure(rng: random.Random, *, is_container: bool) -> TaskFailure:
    """Return a failure of a task: mostly exit codes, at times a fault of the node."""
    if rng.random() < 0.9:
        return exit_code_failure(rng.choice((1, 1, 1, 2, 127, 137, 139)))
    return TaskFailure(
        "ServerError",
        "TaskLaunchFailed",
        "The task could not be launched on the compute node",
        (("Message", "Not enough disk space is available on the node"),),
        container_error="OCI runtime create failed: no space left" if is_container else None,
    )


def start_task_failure(rng: random.Random, *, is_container: bool, blob: str) -> TaskFailure:
    """Return a failure of a start task.

    Exit codes (124 is a command that ran out of time), a resource file that cannot be fetched,
    or a container image that cannot be pulled. ``blob`` is the URL in the message.
    """
    drawn = rng.random()
    if is_container and drawn < 0.4:
        error = (
            "Error response from daemon: Head https://farmregistry.azurecr.io/v2/train/warmup/"
            "manifests/7: unauthorized: authentication required"
        )
        return TaskFailure(
            "UserError",
            "ContainerImagePullFailed",
            "The container image could not be pulled",
            (("Image", "farmregistry.azurecr.io/train/warmup:7"), ("Message", error)),
            container_error=error,
        )
    if drawn < 0.65:
        return exit_code_failure(rng.choice((1, 1, 2, 100, 124, 124)))
    return TaskFailure(
        "UserError",
        "BlobAccessDenied",
        "Access for one of the specified Azure Blob(s) is denied",
        (("BlobSource", blob), ("FilePath", "setup.sh")),
    )
