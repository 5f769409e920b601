"""A standalone Spark cluster on loopback: one master and two workers, from PyPI's pyspark and Java."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

INSTALL = "pip install 'nodelake[spark]' and apt-get install openjdk-17-jre-headless"

#: For rows by the thousand, on two cores: plans are run as they are, JVMs do not optimise themselves
#: nor prove Spark's classes sound.
_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_JVM += " -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
OPTIONS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": _JVM,
    "spark.executor.extraJavaOptions": _JVM,
    "spark.executor.memory": "1g",
    "spark.default.parallelism": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # what is true of every row is not worked out for every plan, nor each plan described in words
    "spark.sql.constraintPropagation.enabled": "false",
    "spark.sql.ui.explainMode": "simple",
    "spark.sql.maxPlanStringLength": "1000",
}


def need() -> None:
    """Skips the test where pyspark or Java is absent, but fails it in CI."""
    try:
        import pyspark  # noqa: F401
        import sqlglot  # noqa: F401

        is_there = shutil.which("java") is not None
    except ImportError:
        is_there = False
    if is_there:
        return
    reason = f"needs Apache Spark: {INSTALL}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def cluster(folder: Path, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[str]:
    """Starts a master and its workers on free ports; yields the master's URL; ends them."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    master = f"spark://127.0.0.1:{port}"
    with ExitStack() as running:
        head = ("Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        running.enter_context(_process(folder, *head))
        _wait(port)
        for number in range(workers):
            arguments = ("--host", "127.0.0.1", "--webui-port", "0", "--cores", str(cores))
            arguments += ("--memory", memory, "--work-dir", str(folder / f"work-{number}"), master)
            running.enter_context(_process(folder, "Worker", *arguments))
        yield master


@contextmanager
def _process(folder: Path, role: str, *arguments: str) -> Iterator[None]:
    import pyspark

    home = str(Path(pyspark.__file__).parent)
    settings = {
        "SPARK_HOME": home,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": _JVM,
        "SPARK_LAUNCHER_OPTS": _JVM,
        "SPARK_LOCAL_DIRS": str(folder / "local"),
    }
    process = subprocess.Popen(
        [f"{home}/bin/spark-class", f"org.apache.spark.deploy.{role.lower()}.{role}", *arguments],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
