"""Masks secrets in texts, JSON values and Arrow columns, before anything is written or logged.

A masked value reads ``[redacted]``. Masking is idempotent, leaves texts without secrets unchanged, and
errs on the safe side: a lost word costs less than a leaked key.
"""

from __future__ import annotations

from pipeline.redact.gate import GATE
from pipeline.redact.names import is_secret_name
from pipeline.redact.patterns import SIGNATURE
from pipeline.redact.redactor import DEFAULT, Redactor, mask_column, redact_text

__all__ = [
    "DEFAULT",
    "GATE",
    "SIGNATURE",
    "Redactor",
    "is_secret_name",
    "mask_column",
    "redact_text",
]
