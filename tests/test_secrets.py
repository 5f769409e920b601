"""No secret anywhere: planted in every free-text field, searched for in everything that comes out.

What is searched: the bytes of every file of the lake and every value in it, stdout in every format,
stderr, JSON logs, tracebacks; as they are, percent-decoded and base64-decoded.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import httpx
import pyarrow.parquet as pq
import pytest

from pipeline import cli, config, snapshot
from pipeline.emulator import Emulator, Fault, Fleet
from pipeline.extract import BatchClient
from pipeline.flatten import shape
from pipeline.lake import Lake
from pipeline.snapshot import imports as saved
from pipeline.snapshot import utc_now
from pipeline.snapshot.imports import SavedFile
from tests.service import LIMITS, START, make_service, small_fleet

_numbers = itertools.count(1)


def secret() -> str:
    """A secret of its own; what is left of one can be recognised by its marker."""
    return f"hUnTeR{next(_numbers):06d}x9Q"


MARK = re.compile(r"hUnTeR\d")


def kinds() -> list[str]:
    """Each kind of secret that the design names, in a text as it would be met."""
    sas = f"https://acc.blob.core.windows.net/c/f?sv=2024-11-04&sr=b&sig={secret()}%3D&se=2027"
    account = f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={secret()}==;X=y"
    shared = f"Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey={secret()}="
    plain = [
        sas,
        account,
        shared,
        f"https://user:{secret()}@host.example/path",
        f"Authorization: Bearer {secret()}.abc-_~+/",
        f"run --password {secret()} --verbose",
        f"run --password={secret()}",
        f"run --token '{secret()} two words'",
        f"docker run -e NAME={secret()} image",
        f'docker run --env NAME={secret()} --env "OTHER={secret()} two words" image',
        f"docker run --env=NAME={secret()} image",
    ]
    wrapped = [quote(text, safe="") for text in (sas, account)]
    wrapped += [quote(quote(sas, safe=""), safe="")]
    wrapped += [
        "echo " + base64.b64encode(text.encode()).decode() + " | base64 -d" for text in plain[:4]
    ]
    wrapped += [
        "powershell -EncodedCommand "
        + base64.b64encode(f"run --password {secret()}".encode("utf-16-le")).decode()
    ]
    return plain + wrapped


KEYS = {"id", "recentTasks[].jobId", "recentTasks[].taskId"}
MASKED = {
    "startTask.environmentSettings[].value",
    "startTask.containerSettings.registry.password",
}


def plant(node: dict[str, Any]) -> None:
    """Puts every kind of secret into every string of a node that is no key and no known value."""
    for path, leaf in shape.leaves(shape.NODE):
        if path in KEYS or str(leaf.column.type) != "string" or leaf.column.enum:
            continue
        _put(node, path, secret() if path in MASKED else " ; ".join(kinds()))
    node["healthReport"] = {
        "text": kinds(),
        "adminPassword": secret(),
        "nested": {"apiKey": secret()},
    }
    node["startTask"]["unknownText"] = kinds()
    node["recentTasks"][0]["executionInfo"]["unknownText"] = " ".join(kinds())
    node["errors"][0]["unknownText"] = kinds()


def _put(node: Any, path: str, value: object) -> None:
    name, _, rest = path.partition(".")
    if not rest:
        node[name] = value
    elif name.endswith("[]"):
        elements = node.get(name[:-2]) or [{}]
        node[name[:-2]] = elements
        _put(elements[0], rest, value)
    else:
        inner = node.get(name)
        node[name] = inner = inner if isinstance(inner, dict) else {}
        _put(inner, rest, value)


def plant_malformed(node: dict[str, Any]) -> None:
    """The same, in a node that does not fit: all of its JSON is kept aside."""
    plant(node)
    node["totalTasksRun"] = " ".join(kinds())
    node["startTask"]["environmentSettings"] = {"NAME": secret()}
    node["lastBootTime"] = kinds()


def plant_pool(pool: dict[str, Any]) -> None:
    """Every place of a pool's definition that the design names."""
    text = " ; ".join(kinds())
    pool["displayName"] = pool["autoScaleFormula"] = text
    pool["metadata"] = [{"name": "owner", "value": secret()}]
    pool["userAccounts"] = [
        {
            "name": "u",
            "password": secret(),
            "linuxUserConfiguration": {"uid": 1, "gid": 1, "sshPrivateKey": secret()},
        }
    ]
    mount = {"relativeMountPath": "m", "mountOptions": text, "blobfuseOptions": text}
    pool["mountConfiguration"] = [
        {"azureBlobFileSystemConfiguration": mount | {"accountKey": secret(), "sasKey": secret()}},
        {"cifsMountConfiguration": mount | {"username": "u", "password": secret()}},
        {"azureFileShareConfiguration": mount | {"accountKey": secret(), "azureFileUrl": text}},
    ]
    machine = pool.setdefault("virtualMachineConfiguration", {})
    machine["extensions"] = [
        {
            "name": "e",
            "settings": {"commandToExecute": secret()},
            "protectedSettings": {"script": secret()},
        }
    ]
    machine["containerConfiguration"] = {
        "type": "dockerCompatible",
        "containerRegistries": [{"username": "u", "password": secret(), "registryServer": "r"}],
    }
    pool["startTask"] = {
        "commandLine": text,
        "environmentSettings": [{"name": "N", "value": secret()}],
        "resourceFiles": [{"httpUrl": text, "filePath": "f"}],
        "containerSettings": {
            "imageName": "i",
            "containerRunOptions": text,
            "registry": {"username": "u", "password": secret()},
        },
    }
    pool["resizeErrors"] = [
        {"code": "c", "message": text, "values": [{"name": "n", "value": text}]}
    ]
    pool["unknownThing"] = {"sharedAccessSignature": secret(), "text": kinds()}


def views(text: str) -> Iterator[str]:
    """A text as it is, percent-decoded again and again, and all base64 in either of them decoded."""
    for _ in range(4):
        yield text
        for word in set(re.findall(r"[A-Za-z0-9+/_-]{16,}={0,2}", text)):
            padded = word.rstrip("=").replace("-", "+").replace("_", "/")
            with contextlib.suppress(ValueError):
                data = base64.b64decode(padded + "=" * (-len(padded) % 4))
                yield data.decode("utf-8", "ignore")
                yield data.decode("utf-16-le", "ignore")
        decoded = unquote_plus(text)
        if decoded == text:
            return
        text = decoded


def assert_clean(text: str, where: str) -> None:
    """No marker of a secret in a text, however it is read."""
    for view in views(text):
        found = MARK.search(view)
        assert found is None, f"{where}: {view[max(0, found.start() - 80) : found.end() + 20]}"


def assert_lake_clean(lake: Path) -> None:
    """No marker in any file of a lake: its bytes, its metadata and every value."""
    files = [path for path in lake.rglob("*") if path.is_file()]
    assert any(path.suffix == ".parquet" for path in files)
    for path in files:
        assert MARK.search(path.read_bytes().decode("latin-1")) is None, path
        if path.suffix == ".parquet":
            assert_clean(json.dumps(pq.read_table(path).to_pylist(), default=str), str(path))
            assert_clean(str(pq.read_metadata(path).metadata), str(path))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake recorded by the command itself from a service full of secrets, and all it printed."""
    lake = tmp_path_factory.mktemp("planted") / "lake"
    emulator = Emulator(Fleet(small_fleet(alpha=6), seed=3, start=START))
    emulator.faults.add(Fault(kind="mutate", route="nodes", mutate=plant, count=3))
    emulator.faults.add(Fault(kind="mutate", route="pools", mutate=plant_pool))
    with emulator.serve() as server:
        printed = _command(["-v", "snapshot", "--lake", str(lake)], server.settings, 0)
        emulator.faults.add(Fault(kind="mutate", route="nodes", mutate=plant_malformed, count=3))
        printed += _command(["-v", "snapshot", "--lake", str(lake)], server.settings, 3)
        emulator.faults.add(Fault(kind="mutate", route="node", mutate=plant))
        node = next(iter(_ids(lake)))
        printed += _command(["node", "alpha", node, "--live"], server.settings, 0)
        key = server.settings["AZURE_BATCH_ACCESS_KEY"]
        assert key not in printed
        assert "SharedKey" not in printed
    return lake, printed


def _ids(lake: Path) -> list[str]:
    from tests.service import rows

    return [row["node_id"] for row in rows(lake, "select distinct node_id from nodes")]


def _command(arguments: list[str], settings: dict[str, str], code: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()[-2000:]
    return done.stdout.decode() + done.stderr.decode()


def test_the_planted_secrets_are_found_where_nothing_masks_them() -> None:
    """The search itself works: it finds each kind in a node that was not redacted."""
    for text in kinds():
        with pytest.raises(AssertionError):
            assert_clean(text, "unmasked")


def test_no_secret_in_the_lake(planted: tuple[Path, str]) -> None:
    """Every file, every column, extra_json and the ledger, of good and of malformed nodes."""
    assert_lake_clean(planted[0])


def test_no_secret_in_what_the_command_prints(planted: tuple[Path, str]) -> None:
    """stdout, stderr and JSON logs of a verbose snapshot and of a live Get."""
    assert_clean(planted[1], "printed")


@pytest.mark.parametrize("form", ["table", "json", "csv", "parquet", "arrow"])
@pytest.mark.parametrize("table", ["nodes", "start_tasks", "recent_tasks", "node_errors", "pools"])
def test_no_secret_in_any_format(
    planted: tuple[Path, str], capfdbinary: pytest.CaptureFixture[bytes], table: str, form: str
) -> None:
    """Every form in which rows are printed."""
    assert cli.run(["sql", f"from {table}", "--format", form, "--lake", str(planted[0])]) == 0
    printed = capfdbinary.readouterr().out
    assert printed
    assert MARK.search(printed.decode("latin-1")) is None
    if form in ("table", "json", "csv"):
        assert_clean(re.sub(r"\s*\n\s*", "", printed.decode()), form)


def test_no_secret_in_an_import(tmp_path: Path) -> None:
    """A saved file goes through the same redaction."""
    service = make_service(small_fleet(alpha=3))
    service.fault("mutate", route="nodes", mutate=plant, count=3)
    with service.client() as client:
        bodies = [page.body for page in client.nodes("alpha")]
    files = [SavedFile("x.json", body) for body in bodies]
    saved.store(files, Lake(tmp_path), at=utc_now(), account="a", pool="alpha")
    assert_lake_clean(tmp_path)


def test_kept_environment_settings_are_kept_and_only_they(tmp_path: Path) -> None:
    """--keep-env NAME keeps that setting's value; all others read [redacted]."""

    def settings(node: dict[str, Any]) -> None:
        node["startTask"]["environmentSettings"] = [
            {"name": "QUEUE", "value": "render-high"},
            {"name": "OTHER", "value": secret()},
        ]

    from pipeline.redact import Redactor
    from tests.service import one

    service = make_service(small_fleet(alpha=1))
    service.fault("mutate", route="nodes", mutate=settings)
    service.run(Lake(tmp_path), redactor=Redactor(["QUEUE"]))
    assert one(tmp_path, "select environment_settings from start_tasks") == {
        "environment_settings": [
            {"name": "QUEUE", "value": "render-high"},
            {"name": "OTHER", "value": "[redacted]"},
        ]
    }
    assert_lake_clean(tmp_path)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_no_secret_of_an_error_body_in_ledger_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """What the service says of a failure is kept, without the secrets in it."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = {"code": "Bad", "message": {"lang": "en", "value": " ; ".join(kinds())}}
        stream = httpx.ByteStream(json.dumps(body).encode())  # as a socket would hand it out
        return httpx.Response(status, stream=stream, headers={"request-id": "r"})

    service = make_service()
    logger = logging.getLogger("nodelake")
    logger.propagate = True
    caplog.set_level(logging.DEBUG, "nodelake")
    with BatchClient(
        service.account,
        limits=LIMITS,
        transport=httpx.MockTransport(answer),
        sleep=lambda seconds: None,
    ) as client:
        outcome = snapshot.run(service.account, Lake(tmp_path), client)
    assert outcome.exit_code == 1
    assert outcome.row["error_code"] == "Bad"
    assert_lake_clean(tmp_path)
    assert_clean(caplog.text, "log")


@pytest.mark.parametrize("watched", [True, False], ids=["terminal", "no terminal"])
def test_no_secret_in_an_unexpected_traceback(
    monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    """An error no one foresaw is reported with its traceback, redacted."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return watched

    def fail(*arguments: object, **options: object) -> config.Settings:
        raise RuntimeError(" ; ".join(kinds()))

    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(config, "load", fail)
    assert cli.run(["status"]) == 1
    told = stderr.getvalue()
    assert "RuntimeError" in told
    assert_clean(told, "traceback")
