"""Starts a Spark session; errors say what is missing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.lake import LakeError
from pipeline.storage import LakeSettingsError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INSTALL = "pip install 'nodelake[spark]'"
JAVA = "install Java 17 or newer (apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
LOCAL = "local[*]"
_TIMEOUT = 5.0
_PORT = 7077

#: The settings of a new session. The first three give SQL the meaning it has in DuckDB: times are UTC,
#: and failed arithmetic is an error.
MEANING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
}
#: 200 by default, which is for a cluster.
_PARTITIONS = "spark.sql.shuffle.partitions"
_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


class SparkError(LakeError):
    """Spark is missing, unreachable, or cannot answer; the message says what to do."""


class SparkSettingsError(SparkError, LakeSettingsError):
    """An invalid master, or a part that is not installed."""


def start(master: str, options: Mapping[str, str] | None = None) -> SparkSession:
    """A session on a master: ``local[*]``, or ``spark://host:7077``.

    ``options`` are Spark's; ``conf/spark-defaults.conf`` and ``PYSPARK_SUBMIT_ARGS`` apply too.

    Raises:
        SparkError: pyspark or Java is missing, or the master does not answer.
    """
    need()
    if not _java():
        raise SparkSettingsError(f"Spark needs Java: {JAVA}")
    _reach(master)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).appName("nodelake")
    quick = {_PARTITIONS: str(os.cpu_count() or 1)} if master.startswith("local") else {}
    for key, value in (quick | _QUIET | dict(options or {}) | MEANING).items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise SparkError(f"no Spark session on {master}: {first_line(error)}") from None


def need() -> None:
    """Checks that the Python packages are installed. Raises SparkSettingsError."""
    for package in ("pyspark", "sqlglot"):
        if importlib.util.find_spec(package) is None:
            raise SparkSettingsError(f"--engine spark needs {package}: {INSTALL}")
    # pyspark imports pandas, which we do not use, and warns about unknown versions
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)


def _java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return (Path(home) / "bin" / "java").exists() if home else shutil.which("java") is not None


def _reach(master: str) -> None:
    """Tries to connect to each host of a standalone master: Spark itself would try for a minute."""
    if re.fullmatch(r"local(\[.+\])?|yarn|k8s://.+", master):
        return
    if not master.startswith("spark://"):
        problem = f"{master!r} is not a master: local[*], or spark://HOST:7077"
        raise SparkSettingsError(problem)
    problem = ""
    for host in master.removeprefix("spark://").split(","):
        try:
            where = urlsplit(f"//{host}")
            address = where.hostname or "", where.port or _PORT
            with socket.create_connection(address, timeout=_TIMEOUT):
                return
        except (OSError, ValueError) as error:
            problem = str(error)
    raise SparkError(f"the Spark master {master} cannot be reached: {problem}")


def first_line(error: BaseException) -> str:
    """The first line of a message of Spark, without code positions and plans."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
