"""The facts about tasks and start tasks: every observed run, and counts of unobserved ones."""

from __future__ import annotations

from pipeline.schema.columns import FLAG, INT, TEXT, TIME
from pipeline.schema.facts.fact import IMAGE_OF_ROW, MACHINE_OF_ROW, NODE, SEEN, Fact, column

# fmt: off
# ruff: noqa: E501 - a column is one line
_OUTCOME = (
    column("last", "exit_code", INT, "Its exit code."),
    column("last", "result", TEXT, "success or failure."),
    column("last", "failure_category", TEXT, "Whose fault a failure was."),
    column("last", "failure_code", TEXT, "Code of the failure."),
    column("last", "failure_message", TEXT, "Message of the failure."),
    column("last", "container_state", TEXT, "State of its container."),
    column("last", "container_error", TEXT, "Error of its container."),
)

TASK_RUNS = Fact("task_runs", "incarnation x job_id x task_id x subtask_id x start_time", "Every attempt at a task that was ever seen on a node.", (
    *NODE,
    column("key", "job_id", TEXT, "Job of the task."),
    column("key", "task_id", TEXT, "Id of the task."),
    column("key", "subtask_id", INT, "Subtask, for a multi-instance task."),
    column("key", "start_time", TIME, "When the attempt began; null while it is provisional."),
    *SEEN,
    column("min", "first_completed_at", TIME, "First listing that showed it completed; null where none did."),
    column("last", "task_state", TEXT, "State of the task when last seen."),
    column("last", "end_time", TIME, "When the task completed; null for an attempt that was retried or not seen to end."),
    *_OUTCOME,
    column("last", "retry_count", INT, "Attempts by the service before this one."),
    column("last", "requeue_count", INT, "Times it had been requeued."),
    *MACHINE_OF_ROW,
    column("view", "is_provisional", FLAG, "It had no start_time when last seen: it may never have begun."),
    column("day", "is_counted", FLAG, "Whether it has ended and this day counts it: the first that listed its end, if the node was not listed between that end and the day."),
    column("day", "is_failure", FLAG, "Of those, whether it failed."),
), first="not is_failure", rows_per_group=16_384, version=3)

TASK_GAPS = Fact("task_gaps", "incarnation x after x before", "Where tasks completed on a node that no listing showed completed.", (
    *NODE,
    column("key", "after", TIME, "The listing before: they completed after it."),
    column("key", "before", TIME, "The listing that shows it: they completed before it."),
    column("max", "missed", INT, "How many: the rise of totalTasksRun less the runs first seen completed."),
    column("day", "rise", INT, "By how much totalTasksRun rose."),
), version=3)

START_TASK_RUNS = Fact("start_task_runs", "incarnation x start_time", "Every run of a start task that was ever seen; a retry is a run.", (
    *NODE,
    column("key", "start_time", TIME, "When the run began."),
    *SEEN,
    column("first", "start_task_id", TEXT, "The node's start task when the run was first seen; joins start_tasks."),
    column("first", "start_task_definition_id", TEXT, "The same without environment values, secrets and signatures."),
    column("first", "is_definition_certain", FLAG, "False where the listing just before showed another definition: the run may be of that one."),
    column("last", "state", TEXT, "running or completed, when last seen."),
    column("last", "end_time", TIME, "When the run ended; null if it was not seen to end."),
    *_OUTCOME,
    column("last", "retry_count", INT, "Retries before this run."),
    *MACHINE_OF_ROW,
    *IMAGE_OF_ROW,
    column("day", "next_start_time", TIME, "When the node's next run on the same image began, as the window shows."),
    column("day", "is_last", FLAG, "Whether the day is the last one that listed it, as far as its window shows."),
    column("day", "is_first", FLAG, "Whether the day is the first one that listed it, as far as its window shows."),
), first="not (is_last or is_first)", rows_per_group=2_048, version=3)
# fmt: on
