"""The work of a node between incidents: tasks in its slots, retries, multi-instance tasks."""

from heapq import heapify, heapreplace

from ..streams import digest, stream
from ..times import MINUTE, NEVER, SECOND, service_time
from .nodes import Node
from .startup import Process, mean, span
from .tasks import Task, task_failure


def next_gang(node: Node, at: int) -> int:
    """Return when the node next takes part in a multi-instance task; NEVER if it does not."""
    plan = node.plan
    is_member = (
        node.seat < plan.config.work.gang_size
        and node.is_dedicated == plan.is_mainly_dedicated
        and node.defect is None
    )
    return plan.next_gang(at) if is_member else NEVER


def _duration(node: Node, at: int) -> int:
    if node.defect == "black_hole":
        return span(node, 5, 25)
    drawn = max(5 * SECOND, mean(node, node.plan.config.work.task_minutes * MINUTE))
    before_gang = next_gang(node, at) - 5 * SECOND - at
    return max(SECOND, min(drawn, before_gang))


def _gap(node: Node) -> int:
    if node.defect == "black_hole":
        return span(node, 10, 60)
    return SECOND + mean(node, node.plan.config.work.idle_minutes * MINUTE)


def _new_task(node: Node, at: int) -> Task:
    if node.requeued:
        task = node.requeued.pop(0)
        task.requeue_count += 1
        task.last_requeue_at = at
        return task
    node.counter += 1
    hour = service_time(at)[:13].replace("-", "").replace("T", "-")
    kind = "d" if node.is_dedicated else "p"
    name = f"{node.plan.profile.noun}-{kind}{node.seat:05d}-{node.counter:06d}"
    job = f"{node.plan.config.id}-{hour}"
    jobs = node.plan.config.work.jobs
    if jobs > 1:  # drawn from the task's own name, so that the node's random stream is unchanged
        job += f"-{digest(node.plan.seed, node.id, name)[0] % jobs}"
    return Task(job, name)


def _finish(node: Node, slot: int, at: int, *, may_retry: bool) -> bool:
    """End the attempt in a slot; return whether the next attempt has begun there."""
    task = node.running[slot]
    work = node.plan.config.work
    rate = 1.0 if node.defect == "black_hole" else work.failure_rate
    failure = None
    if node.rng.random() < rate:
        failure = task_failure(node.rng, is_container=node.plan.profile.is_container)
    may_retry = may_retry and task.retry_count < work.retry_limit
    if failure is not None and failure.is_retried and may_retry:
        node.end_attempt(task, at, failure, final=False)
        node.begin_task(slot, task, at)
        return True
    node.end_attempt(task, at, failure, final=True)
    del node.running[slot]
    return False


def work(node: Node, at: int, until: int) -> Process:
    """Run tasks in the node's slots until the next incident."""
    agenda = node.agenda
    if not agenda:
        agenda.extend((at + _gap(node), slot) for slot in range(node.plan.work_slots))
        heapify(agenda)
    node.enter("running" if node.running else "idle", at)
    while agenda[0][0] < until:
        when, slot = agenda[0]
        at = max(at, when)
        yield at
        if slot not in node.running:
            node.begin_task(slot, _new_task(node, at), at)
            heapreplace(agenda, (at + _duration(node, at), slot))
        elif _finish(node, slot, at, may_retry=True):
            heapreplace(agenda, (at + _duration(node, at), slot))
        else:
            heapreplace(agenda, (at + _gap(node), slot))
        node.enter("running" if node.running else "idle", at)
    yield until
    return until


def drain(node: Node, at: int) -> Process:
    """Wait for running tasks to end, and start none."""
    for when, slot in sorted(node.agenda):
        if slot in node.running:
            at = max(at, when)
            yield at
            _finish(node, slot, at, may_retry=False)
    node.agenda.clear()
    node.enter("idle", at)
    return at


def gang(node: Node, at: int) -> Process:
    """Run this node's part of a multi-instance task: all parts start together, on every slot."""
    if node.running:  # it was unreachable when the task needed its slots
        return at
    job = f"{node.plan.config.id}-gang-{service_time(at)[:13].replace('T', '-')}"
    task = Task(job, "solve", subtask_id=node.seat, state="preparing")
    slot = -1
    node.begin_task(slot, task, at)
    node.enter("running", at)
    lasts = node.plan.gang_duration(at)
    share = stream(node.plan.seed, job, "prepare").uniform(0.02, 0.08)
    yield at + int(lasts * share)
    task.state = "running"
    yield (at := at + lasts)
    node.end_attempt(task, at, None, final=True)
    del node.running[slot]
    node.enter("idle", at)
    return at
