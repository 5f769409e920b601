"""Random streams by name: the same names give the same numbers in every process.

``hash()`` is salted per process, so names are hashed with SHA-256 instead.
"""

import base64
import functools
import hashlib
import random


def digest(*names: object) -> bytes:
    """Return 32 bytes made from the names."""
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


def stream(*names: object) -> random.Random:
    """Return the random stream of these names."""
    return random.Random(int.from_bytes(digest(*names)[:8], "big"))  # noqa: S311 (no secret)


def fake_secret(*names: object) -> str:
    """Return 44 base64 characters that look like a key or a signature and open nothing."""
    return base64.b64encode(digest("secret", *names)).decode()


@functools.lru_cache(maxsize=1024)
def fake_guid(*names: object) -> str:
    """Return a GUID in its bare form, made from the names."""
    text = digest("guid", *names).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"
