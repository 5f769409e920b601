"""The output of a start task, stdout and stderr, made from the seed, the node and the attempt.

It explains the outcome that startTaskInfo shows; a new attempt replaces it.
"""

from collections.abc import Iterator

from ..streams import digest, fake_guid, stream
from ..times import SECOND, service_time
from .nodes import Node, StartTaskInfo
from .planted import PLANTED_LOG_SECRETS

_MOST_LINES = 600

_SAS, _KEY, _BEARER, _IN_URL, _ARGUMENT, _VALUE = PLANTED_LOG_SECRETS

#: How a failed attempt ends, by exit code: lines of stderr.
_ENDINGS = {
    1: (
        "Traceback (most recent call last):",
        '  File "/opt/farm/setup.py", line 88, in mount_scratch',
        '    raise SetupError(f"mount {{target}} failed: {{reason}}")',
        "farm.SetupError: mount /mnt/scratch failed: permission denied",
        "setup.sh: line 41: setup of {node} failed, exit 1",
    ),
    2: (
        "tar: licenses/render.tgz: Cannot open: No such file or directory",
        "tar: Error is not recoverable: exiting now",
    ),
    100: (
        "E: Failed to fetch http://archive.example/pool/main/l/libvulkan1.deb  404  Not Found",
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
    ),
    124: (
        "waiting for license server 10.20.0.4:27000: no route to host",
        "timeout: sending signal TERM to command './setup.sh'",
    ),
}


def start_task_logs(node: Node, now: int) -> tuple[bytes, bytes] | None:
    """Return (stdout, stderr) of the current or last attempt as they are now.

    None where there is no start task, none has begun, or its command never ran.
    """
    info = node.start_task_info
    if info is None or not node.plan.config.start_task.is_present:
        return None
    if info.ended_at is not None and info.exit_code is None:
        return None  # a resource file or an image could not be fetched
    until = now if info.ended_at is None else info.ended_at
    stdout = "".join(f"{line}\n" for line in _stdout(node, info, until))
    stderr = "".join(f"{line}\n" for line in _stderr(node, info, until))
    if node.plan.config.profile == "windows":
        stdout, stderr = stdout.replace("\n", "\r\n"), stderr.replace("\n", "\r\n")
    return _odd_bytes(node, info, stdout), _odd_bytes(node, info, stderr)


def _stdout(node: Node, info: StartTaskInfo, until: int) -> Iterator[str]:
    rng = stream(node.plan.seed, node.id, info.started_at, "stdout")
    at = info.started_at + SECOND // 10
    yield f"[{service_time(at)}] start task of {node.plan.config.id}, attempt {info.retry_count + 1}"
    yield f"+ login --user bot --password {_ARGUMENT}"
    yield (
        "+ wget -q 'https://farmassets.blob.core.windows.net/tools/setup.sh?sv=2024-11-04&sr=b"
        f"&sig={_SAS.replace('=', '%3D')}'"
    )
    is_long = digest("long", node.id, info.started_at)[0] % 3 == 0
    for number in range(1, _MOST_LINES):
        at += int(rng.uniform(0.02, 0.3) * SECOND) if is_long else int(rng.uniform(1, 6) * SECOND)
        if at > until:
            break
        package = fake_guid(node.plan.seed, "package", number % 40)[:8]
        yield f"[{service_time(at)}] {number:4d} unpacking farm-{package}.deb ... done"
    if info.ended_at is None or info.ended_at > until:
        return
    yield f"+ docker run -e FARM_TOKEN={_VALUE} farm/check:2"
    if info.failure is None:
        yield f"[{service_time(info.ended_at)}] node is ready"
    else:
        yield f"[{service_time(info.ended_at)}] giving up: exit {info.exit_code}"


def _stderr(node: Node, info: StartTaskInfo, until: int) -> Iterator[str]:
    yield f"DefaultEndpointsProtocol=https;AccountName=farmassets;AccountKey={_KEY}"
    if info.ended_at is None or info.ended_at > until:
        return
    if info.failure is None:
        yield "warning: no swap space"
        return
    yield f"> Authorization: Bearer {_BEARER}"
    yield f"fatal: could not read from https://bot:{_IN_URL}@git.example/farm.git"
    code = info.exit_code or 0
    for line in _ENDINGS.get(code, ("setup ended with exit code {code}",)):
        yield line.format(node=node.id, code=code)


def _odd_bytes(node: Node, info: StartTaskInfo, text: str) -> bytes:
    """Return the text as bytes; two in four hold control characters, Latin-1, or a cut character."""
    kind = digest("bytes", node.id, info.started_at)[0] % 4
    if kind == 0:
        head = b"caf\xe9 \xff\xfe: locale is not UTF-8\n"
        return head + text.encode()
    if kind == 1:
        return b"\x1b[31mfarm\x1b[0m \x07\x00 10%\r 50%\r100%\n" + text.encode()
    return text.encode()
