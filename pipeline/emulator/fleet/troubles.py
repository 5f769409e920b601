"""What goes wrong with a pool's size: resize errors and failing autoscale formulas."""

import json
from dataclasses import dataclass

from ..config import Shortage
from ..streams import digest, fake_guid
from ..times import HOUR, MINUTE, to_datetime
from ..truth import AutoscaleError, ResizeError, TruthLog
from .plan import PoolPlan
from .planted import PLANTED_POOL_SECRETS

RESIZE_TIMEOUT = 15 * MINUTE

#: Code → message, from real cases where there are any.
_MESSAGES = {
    "AccountCoreQuotaReached": "The specified account has reached core quota",
    "AccountLowPriorityCoreQuotaReached": "The specified account has reached low priority core"
    " quota",
    "AccountSpotCoreQuotaReached": "The specified account has reached spot core quota",
    "AccountVMSeriesCoreQuotaReached": "The specified account has reached core quota for the VM"
    " series",
    "AllocationFailed": "Desired number of {kind} nodes could not be allocated",
    "AllocationTimedout": "Desired number of {kind} nodes could not be allocated as the resize"
    " timeout was reached",
    "ResizeStopped": "Desired number of {kind} nodes could not be allocated as the resize was"
    " stopped",
}
_FORMULA_ERRORS = {
    "InsufficientSampleData": (
        "Autoscale evaluation failed due to insufficient sample data",
        "Line 3, Col 28: Insufficient data from data set: $PendingTasks wanted 70%, received 50%",
    ),
    "AutoScalingFormulaEvaluationError": (
        "The specified autoscale formula could not be evaluated",
        "Line 5, Col 27: Undefined function: mins",
    ),
}


@dataclass(frozen=True)
class ResizeProblem:
    """One entry of ``resizeErrors``."""

    code: str
    message: str
    values: tuple[tuple[str, str], ...]
    dedicated_short: int
    spot_short: int


@dataclass(frozen=True)
class EvaluationError:
    """The ``error`` of an ``autoScaleRun``."""

    code: str
    message: str
    detail: str


class PoolTroubles:
    """The resize errors and formula errors of one pool, and their records in the truth log."""

    def __init__(self, plan: PoolPlan, log: TruthLog | None) -> None:
        """Begin without an error; ``log`` gets a record of each one that shows."""
        self._plan = plan
        self._log = log
        self._found: list[ResizeProblem] = []
        self.shown: list[ResizeProblem] = []
        self._records: list[ResizeError] = []
        self.evaluation: EvaluationError | None = None
        self._evaluation_record: AutoscaleError | None = None

    @property
    def is_short(self) -> bool:
        """Return whether the last resize left the pool short of nodes."""
        return bool(self._found)

    # ---- resizes

    def _shortage(self, at: int) -> Shortage | None:
        for shortage in self._plan.config.shortages:
            begins = self._plan.start + int(shortage.after_hours * HOUR)
            if begins <= at < begins + int(shortage.hours * HOUR):
                return shortage
        return None

    def limits(self, at: int) -> tuple[int | None, int | None]:
        """Return the most (dedicated, spot) nodes that can be allocated now; None: no limit."""
        shortage = self._shortage(at)
        return (None, None) if shortage is None else (shortage.dedicated, shortage.spot)

    def begin_resize(self, at: int) -> None:
        """Begin a resize, which hides the errors of the one before."""
        for record in self._records:
            record.ended_at = to_datetime(at)
        self._records = []
        self.shown = []

    def end_resize(self, at: int, short: tuple[int, int]) -> int:
        """Decide with which errors a resize that began at ``at`` ends; return its earliest end."""
        shortage = self._shortage(at)
        self._found = []
        for missing, kind in zip(short, ("dedicated", "Spot"), strict=True):
            if missing <= 0:
                continue
            limited = shortage is not None and None is not (
                shortage.dedicated if kind == "dedicated" else shortage.spot
            )
            code = shortage.code if shortage is not None and limited else "AllocationFailed"
            counts = (missing, 0) if kind == "dedicated" else (0, missing)
            message = _MESSAGES.get(code, f"The resize ended with {code}").format(kind=kind)
            values = self._values(code, kind, missing, at)
            self._found.append(ResizeProblem(code, message, values, *counts))
        timed_out = any(problem.code == "AllocationTimedout" for problem in self._found)
        return at + RESIZE_TIMEOUT if timed_out else at

    def _values(self, code: str, kind: str, missing: int, at: int) -> tuple[tuple[str, str], ...]:
        """Return error details as the service sends them: none, a sentence, or a provider's JSON.

        Every fourth JSON text is truncated, as the service truncates long ones.
        """
        if code == "AllocationTimedout":
            return ()
        if code != "AllocationFailed":
            cores = missing * self._plan.cores
            return (
                ("Reason", f"{missing} {kind} nodes are missing: {cores} cores over the quota"),
            )
        signature = PLANTED_POOL_SECRETS[0].replace("=", "%3D")
        error = {
            "error": {
                "code": "AllocationFailed" if kind == "dedicated" else "SkuNotAvailable",
                "message": f"Insufficient capacity for {missing} {kind} nodes of"
                f" {self._plan.config.vm_size}.",
                "trackingId": fake_guid("tracking", self._plan.config.id, at),
                "templateLink": "https://farmassets.blob.core.windows.net/templates/pool.json"
                f"?sv=2024-11-04&sr=b&sig={signature}",
            }
        }
        text = json.dumps(error)
        is_cut = digest("cut", self._plan.seed, self._plan.config.id, at)[0] % 4 == 0
        return (
            ("Reason", f"Insufficient capacity: {missing} {kind} nodes are missing"),
            ("ProviderErrorJson", text[: len(text) * 2 // 3] if is_cut else text),
            ("ProviderErrorJsonTruncated", str(is_cut)),
        )

    def settle(self, at: int, created_at: int) -> None:
        """Show the errors of the last resize: the allocation state is steady."""
        self.shown = list(self._found)
        if self._log is None:
            return
        created, now = to_datetime(created_at), to_datetime(at)
        for problem in self.shown:
            record = ResizeError(
                self._plan.config.id, "", created, now, problem.code,
                problem.dedicated_short, problem.spot_short,
            )  # fmt: skip
            self._records.append(record)
            self._log.add(record)

    # ---- autoscale

    def evaluate(self, at: int, created_at: int, *, lacks_samples: bool) -> bool:
        """Evaluate the formula now; return whether that failed."""
        code = "InsufficientSampleData" if lacks_samples else None
        scale = self._plan.config.autoscale
        for failure in () if scale is None else scale.failures:
            begins = self._plan.start + int(failure.after_hours * HOUR)
            if begins <= at < begins + int(failure.hours * HOUR):
                code = failure.code
        record = self._evaluation_record
        if record is not None and record.code != code:
            record.ended_at = to_datetime(at)
            record = self._evaluation_record = None
        if code is None:
            self.evaluation = None
            return False
        unknown = (f"Autoscale evaluation failed with {code}", "Line 1, Col 1")
        message, detail = _FORMULA_ERRORS.get(code, unknown)
        self.evaluation = EvaluationError(code, message, detail)
        if record is None and self._log is not None:
            pool_id, created = self._plan.config.id, to_datetime(created_at)
            record = AutoscaleError(pool_id, "", created, to_datetime(at), code)
            self._evaluation_record = record
            self._log.add(record)
        if record is not None:
            record.evaluations += 1
        return True

    def close(self, at: int) -> None:
        """End every error: the pool is gone."""
        self.begin_resize(at)
        if self._evaluation_record is not None:
            self._evaluation_record.ended_at = to_datetime(at)
