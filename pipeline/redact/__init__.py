"""Takes secrets out of text, of JSON values and of Arrow columns, before anything is written or logged.

What is masked reads ``[redacted]``; masking twice changes nothing, and what is free of secrets comes
back as it was. It errs on the side of masking: a lost word costs less than a leaked key.
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
