"""Whatever a client sends, it gets a reply of the service's own, never a crash."""

import io
import json
from functools import cache
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.emulator import Emulator, Fleet

from .conftest import START, busy_config

PIECES = st.sampled_from(
    [
        "pools",
        "steady",
        "nodes",
        "nodecounts",
        "poolusagemetrics",
        "msi",
        "token",
        "_emulator",
        "faults",
        "truth",
        "advance",
        "",
        "..",
        "%2F",
        "%",
        "\xe9",
        "a" * 300,
        "\x00",
        "$metadata",
    ]
)
NAMES = st.sampled_from(
    [
        "api-version",
        "$filter",
        "$select",
        "$expand",
        "maxresults",
        "timeout",
        "$skiptoken",
        "starttime",
        "endtime",
        "",
        "%24filter",
        "API-VERSION",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            "2024-07-01.20.0",
            "10",
            "0",
            "-1",
            "9" * 30,
            "state%20eq%20'idle'",
            "id,state",
            "stats",
            "WATV2:AAAA:1$1",
            "2026-11-01T00:00:00Z",
            "0001-01-01",
            "9999-12-31T23:59:59Z",
            "%ff",
            "\u0661",
        ]
    ),
    st.text(max_size=20),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "HTTP_AUTHORIZATION",
            "HTTP_OCP_DATE",
            "HTTP_DATE",
            "HTTP_IF_MATCH",
            "HTTP_HOST",
            "HTTP_IF_MODIFIED_SINCE",
            "HTTP_ACCEPT_ENCODING",
            "HTTP_X_IDENTITY_HEADER",
            "CONTENT_LENGTH",
            "HTTP_CLIENT_REQUEST_ID",
            "HTTP_RETURN_CLIENT_REQUEST_ID",
        ]
    ),
    st.one_of(
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
        st.sampled_from(
            [
                "Mon, 02 Nov 2026 00:00:00 GMT",
                "Mon, 99 Foo 0000",
                "SharedKey emulated:x",
                "true",
                "gzip;q=x",
                "*",
                "2000000",
                "-1",
            ]
        ),
    ),
    max_size=4,
)


@cache
def emulator() -> Emulator:
    """One small emulator for all examples; its clock does not move."""
    return Emulator(Fleet(busy_config(20), start=START), sleep=lambda seconds: None)


@settings(max_examples=400, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "HEAD", "BREW"]),
    path=st.lists(PIECES, max_size=5),
    query=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    headers=HEADERS,
    body=st.binary(max_size=40) | st.sampled_from([b'{"seconds": 1}', b'{"kind": "latency"}']),
    is_known=st.booleans(),
)
@example("GET", ["pools", "steady", "nodes"], [("$skiptoken", "WATV2:AAAA:1$1")], {}, b"", True)
@example("GET", ["poolusagemetrics"], [("endtime", "0001-01-01")], {}, b"", True)
def test_any_request_has_a_reply(
    method: str,
    path: list[str],
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    is_known: bool,
) -> None:
    """Any path, query, header and body is answered, errors as JSON with a code or a reason."""
    served = emulator()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/" + "/".join(path),
        "QUERY_STRING": "&".join(f"{name}={value}" for name, value in query),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        **headers,
    }
    if is_known:
        token, _ = served.tokens.issue("https://batch.core.windows.net/", served.clock())
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        environ["QUERY_STRING"] = "&".join(["api-version=2024-07-01.20.0", environ["QUERY_STRING"]])
    seen: list[str] = []
    pieces = served.app(environ, lambda status, headers, *rest: seen.append(status))
    raw = b"".join(pieces)
    served.faults.clear()
    status = int(seen[0].split()[0])
    assert 200 <= status < 500
    if status >= 400 and method != "HEAD" and raw[:2] != b"\x1f\x8b":
        document = json.loads(raw)
        assert document.get("code") or document.get("error")
