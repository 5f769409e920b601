"""Errors of Spark in plain words, with what to do; and the statements that Spark gets."""

from __future__ import annotations

import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from pipeline import query, spark
from pipeline.cli import run
from pipeline.lake import Lake
from pipeline.spark import translate
from tests.service import make_service
from tests.spark.cluster import need


def ask(lake: Path, *more: str) -> int:
    """``nodelake ask status --engine spark`` on a lake of one snapshot."""
    make_service().run(Lake(lake))
    return run(["ask", "status", "--lake", str(lake), "--engine", "spark", *more])


@pytest.mark.parametrize("package", ["pyspark", "sqlglot"])
def test_a_missing_package_is_reported_with_the_extra_that_brings_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: str,
) -> None:
    """Exit 2: nothing is wrong with the lake."""
    monkeypatch.setitem(sys.modules, package, None)
    assert ask(tmp_path) == 2
    assert f"needs {package}: pip install 'nodelake[spark]'" in capsys.readouterr().err


def test_a_missing_java_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither on the PATH nor at JAVA_HOME."""
    need()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert ask(tmp_path) == 2
    assert "Spark needs Java: install Java 17" in capsys.readouterr().err


def test_a_master_that_no_one_answers_for_is_reported_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spark itself would try for a minute."""
    need()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{free.getsockname()[1]}"
    assert ask(tmp_path, "--spark-master", master) == 1
    told = capsys.readouterr()
    assert f"the Spark master {master} cannot be reached: " in told.err
    assert told.out == ""


def test_what_is_no_master_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And so is a master for DuckDB."""
    need()
    assert ask(tmp_path, "--spark-master", "head:7077") == 2
    assert "'head:7077' is not a master" in capsys.readouterr().err
    assert run(["ask", "status", "--lake", str(tmp_path), "--spark-master", "local[*]"]) == 2
    assert "--spark-master goes with --engine spark" in capsys.readouterr().err


def test_values_become_what_their_parameter_is() -> None:
    """Read by DuckDB for both engines; what does not fit is named."""
    asked = query.question("node_hours")
    read = spark.typed(asked, asked.bind({"from": "2026-11-21T12:00+01:00", "pool": "p"}))
    assert read == {"pool": "p", "from": datetime(2026, 11, 21, 11, tzinfo=UTC), "to": None}
    with pytest.raises(query.QuestionError, match="from: 'soon' is not a valid timestamptz"):
        spark.typed(asked, asked.bind({"from": "soon"}))


@pytest.mark.parametrize(
    ("ours", "spark_says"),
    [
        ("select $pool", "SELECT :pool"),
        (
            "select max_by(a, b) from t",
            "SELECT MAX_BY(a, b) FILTER(WHERE NOT (a) IS NULL) FROM t",
        ),
        (
            "select percentile_cont(0.5) within group (order by x) from t",
            "SELECT PERCENTILE(x, CAST('0.5' AS DOUBLE)) FROM t",
        ),
        (
            "select date_diff('day', a, b) from t",
            "SELECT DATEDIFF(CAST(b AS DATE), CAST(a AS DATE)) FROM t",
        ),
        ("select a from t order by a desc limit 2", "SELECT a FROM t ORDER BY a DESC LIMIT 2"),
        ("select a from t order by a", "SELECT a FROM t ORDER BY a NULLS LAST"),
    ],
)
def test_the_same_said_to_spark(ours: str, spark_says: str) -> None:
    """Where the same words would mean something else."""
    need()
    assert translate.to_spark(translate.parse(ours)) == spark_says


@pytest.mark.parametrize(
    "query_text", ["select list(a order by b) from t", "select date_diff('week', a, b) from t"]
)
def test_what_spark_has_no_words_for_is_refused(query_text: str) -> None:
    """Never a near miss."""
    need()
    with pytest.raises(translate.Untranslatable):
        translate.to_spark(translate.parse(query_text))


def test_a_macro_called_twice_has_ctes_of_its_own_each_time() -> None:
    """Also where the query has one of the same name: Spark refuses two CTEs of one name."""
    pytest.importorskip("sqlglot")
    picked = translate.parse(
        "with m as (select n as x), k as (from m) select k.x from k where k.x > 1"
    )
    asked = "with m as (select 5 as y) select a.x + b.x + m.y from pick(3) as a, pick(4) as b, m"
    whole = translate.expand(translate.parse(asked), {"pick": translate.Macro(("n",), picked)})
    text = translate.to_spark(whole)
    names = re.findall(r"(\w+) AS \(", text)
    assert len(names) == len(set(names)), text
    assert duckdb.sql(text).fetchall() == [(12,)]
