"""Resize errors and failing autoscale formulas: what is shown, when, and what the log says."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.emulator import (
    PLANTED_POOL_SECRETS,
    Autoscale,
    AutoscaleError,
    Emulator,
    Fleet,
    FleetConfig,
    FormulaFailure,
    PoolConfig,
    Record,
    Resize,
    ResizeError,
    Shortage,
    load_fleet_config,
)

from .client import Client
from .conftest import START

FLEETS = Path(__file__).resolve().parents[2] / "data" / "fleets"
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def short_pool(**more: Any) -> PoolConfig:
    """A pool of 10 nodes that is to have 30 after an hour and gets 18 until hour five."""
    shortage = {"after_hours": 0.5, "hours": 4.5, "dedicated": 18, **more}
    return PoolConfig(
        id="short",
        dedicated=10,
        removals_per_day=0.0,
        resizes=(Resize(after_hours=1.0, dedicated=30),),
        shortages=(Shortage(**shortage),),
    )


def watched(*pools: PoolConfig, hours: float = 8.0, seed: int = 7) -> tuple[Fleet, list[Any]]:
    """A fleet and its pools' documents by the minute: (moment, document)."""
    fleet = Fleet(FleetConfig(pools=pools), seed=seed, start=START)
    client = Client(Emulator(fleet))
    seen = []
    while fleet.now < START + hours * HOUR:
        fleet.advance(fleet.now + MINUTE)
        seen += [(fleet.now, pool) for pool in client.items("/pools")]
    return fleet, seen


def test_a_quota_error_that_heals() -> None:
    """The error shows while the pool is short and steady, and goes when the quota is raised."""
    fleet, seen = watched(short_pool())
    (error,) = fleet.truth.resize_errors
    assert ("short", "AccountCoreQuotaReached", 12, 0) == (
        error.pool_id, error.code, error.dedicated_short, error.spot_short
    )  # fmt: skip
    assert START + HOUR < error.started_at < START + 1.2 * HOUR
    assert START + 5 * HOUR == error.ended_at
    for moment, pool in seen:
        shown = error.started_at <= moment < error.ended_at
        assert shown == ("resizeErrors" in pool), moment
        if shown:
            assert "steady" == pool["allocationState"]
            assert (30, 18) == (pool["targetDedicatedNodes"], pool["currentDedicatedNodes"])
            (entry,) = pool["resizeErrors"]
            assert "The specified account has reached core quota" == entry["message"]
            assert [{"name": "Reason"}] == [{"name": v["name"]} for v in entry["values"]]
    assert 30 == seen[-1][1]["currentDedicatedNodes"]


def test_a_timeout_takes_fifteen_minutes_and_has_no_details() -> None:
    """AllocationTimedout comes when the resize's time is over, as the real one, without values."""
    fleet, seen = watched(short_pool(code="AllocationTimedout"))
    (error,) = fleet.truth.resize_errors
    assert timedelta(minutes=15) <= error.started_at - (START + HOUR) < timedelta(minutes=17)
    (entry,) = next(pool["resizeErrors"] for _, pool in seen if "resizeErrors" in pool)
    assert {"code", "message"} == set(entry)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_provider_error_is_json_text(seed: int) -> None:
    """AllocationFailed relays the provider's error as JSON, whole or cut, with a secret in it."""
    _, seen = watched(short_pool(code="AllocationFailed"), hours=2, seed=seed)
    (entry,) = next(pool["resizeErrors"] for _, pool in seen if "resizeErrors" in pool)
    values = {pair["name"]: pair["value"] for pair in entry["values"]}
    text = values["ProviderErrorJson"]
    if values["ProviderErrorJsonTruncated"] == "True":
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    else:
        assert "AllocationFailed" == json.loads(text)["error"]["code"]
        assert PLANTED_POOL_SECRETS[0].replace("=", "%3D") in text


def test_both_kinds_can_be_short() -> None:
    """Dedicated and spot nodes are short by themselves: two errors of one resize."""
    pool = PoolConfig(
        id="both",
        dedicated=4,
        spot=4,
        removals_per_day=0.0,
        resizes=(Resize(after_hours=1.0, dedicated=9, spot=7),),
        shortages=(
            Shortage(after_hours=0.0, hours=2.0, dedicated=4, spot=5, code="AllocationFailed"),
        ),
    )
    fleet, seen = watched(pool, hours=3)
    found = {(e.dedicated_short, e.spot_short) for e in fleet.truth.resize_errors}
    assert {(5, 0), (0, 2)} == found
    assert any(2 == len(document.get("resizeErrors", [])) for _, document in seen)
    assert all("resizeErrors" not in document for moment, document in seen[-30:])


def test_without_a_shortage_there_is_no_error() -> None:
    """A pool that is resized at a time of plenty shows none."""
    fleet, seen = watched(short_pool(after_hours=3.0))
    assert [] == fleet.truth.resize_errors
    assert all("resizeErrors" not in pool for _, pool in seen)


def failing_pool(**more: Any) -> PoolConfig:
    """An autoscaled pool whose formula fails from hour two to hour four."""
    failures = (FormulaFailure(after_hours=2.0, hours=2.0, **more),)
    scale = Autoscale(min_dedicated=4, max_dedicated=30, error_rate=0.0, failures=failures)
    return PoolConfig(id="scaled", dedicated=8, autoscale=scale, removals_per_day=0.0)


@pytest.mark.parametrize("code", ["InsufficientSampleData", "AutoScalingFormulaEvaluationError"])
def test_a_formula_that_fails_for_a_while(code: str) -> None:
    """Each run meanwhile has the error, targets and results stay, and the log has one record."""
    fleet, seen = watched(failing_pool(code=code))
    (record,) = fleet.truth.autoscale_errors
    assert ("scaled", code, 8) == (record.pool_id, record.code, record.evaluations)
    assert START + timedelta(hours=2, minutes=2) == record.started_at
    assert START + timedelta(hours=4, minutes=2) == record.ended_at
    targets = set()
    runs = set()
    for moment, pool in seen:
        run = pool.get("autoScaleRun", {})
        failed = record.started_at <= moment < record.ended_at
        assert failed == ("error" in run), moment
        if failed:
            targets.add((pool["targetDedicatedNodes"], run["results"]))
            runs.add(run["timestamp"])
            assert code == run["error"]["code"]
            assert ["Message"] == [pair["name"] for pair in run["error"]["values"]]
    assert 1 == len(targets)
    assert 8 == len(runs)


def test_records_do_not_depend_on_the_steps() -> None:
    """The log has the same records in whatever steps time is moved."""

    def records(step: timedelta) -> list[Record]:
        fleet = Fleet(FleetConfig(pools=(short_pool(), failing_pool())), seed=7, start=START)
        while fleet.now < START + 8 * HOUR:
            fleet.advance(fleet.now + step)
        return [r for r in fleet.truth if type(r) in (ResizeError, AutoscaleError)]

    assert records(MINUTE) == records(8 * HOUR)
    assert 2 == len(records(HOUR))


def test_records_end_with_the_pool() -> None:
    """A pool that is deleted while it is short takes its errors along."""
    config = short_pool(hours=20.0)
    deleted = type(config)(**{**{f: getattr(config, f) for f in config.__struct_fields__},
                              "delete_after_hours": 3.0})  # fmt: skip
    fleet, _ = watched(deleted, hours=4)
    (error,) = fleet.truth.resize_errors
    assert START + 3 * HOUR == error.ended_at


def test_a_large_fleet_shows_errors_too() -> None:
    """A fleet without a truth log shows the same errors."""
    fleet = Fleet(FleetConfig(pools=(short_pool(),)), seed=7, start=START, keep_truth=False)
    fleet.advance(START + 2 * HOUR)
    (pool,) = Client(Emulator(fleet)).items("/pools")
    assert ["AccountCoreQuotaReached"] == [error["code"] for error in pool["resizeErrors"]]


def test_the_demo_has_a_quota_error_and_formula_errors() -> None:
    """In the demo's afternoon a pool is eight nodes short for four hours; formulas fail at times."""
    fleet = Fleet(seed=7, start=START)
    fleet.advance(START + 24 * HOUR)
    (error,) = fleet.truth.resize_errors
    assert ("simulation-spot", "AccountCoreQuotaReached", 8) == (
        error.pool_id, error.code, error.dedicated_short
    )  # fmt: skip
    assert {"render"} == {error.pool_id for error in fleet.truth.autoscale_errors}


@pytest.mark.parametrize("seed", [1, 7, 23])
def test_the_fleet_of_shortages(seed: int) -> None:
    """Each pool of shortages.toml shows what its comment says, and the healthy one nothing."""
    fleet = Fleet(load_fleet_config(FLEETS / "shortages.toml"), seed=seed, start=START)
    fleet.advance(START + 24 * HOUR)
    resizes = {(e.pool_id, e.code) for e in fleet.truth.resize_errors}
    assert {
        ("quota", "AccountCoreQuotaReached"),
        ("capacity", "AllocationFailed"),
        ("timeout", "AllocationTimedout"),
    } == resizes
    assert all(error.ended_at is not None for error in fleet.truth.resize_errors)
    formulas = [(e.pool_id, e.code, e.evaluations) for e in fleet.truth.autoscale_errors]
    assert [
        ("formula", "InsufficientSampleData", 8),
        ("formula", "AutoScalingFormulaEvaluationError", 4),
    ] == formulas
    by_id = {pool.id: pool for pool in fleet.pools()}
    assert 40 == len(by_id["quota"].dedicated)
