"""Replies: the service's bodies, errors and headers.

Codes and texts are from recordings where there is one, else from the published tables
("Batch Status and Error Codes").
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]

JSON_TYPE = "application/json;odata=minimalmetadata"

REASONS = {
    200: "OK", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 412: "Precondition Failed",
    413: "Content Too Large", 415: "Unsupported Media Type", 416: "Range Not Satisfiable",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip

#: Code → (status, message).
ERRORS = {
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header"
        " is formed correctly including the signature.",
    ),
    "Forbidden": (403, "Access is Forbidden"),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "MissingRequiredQueryParameter": (
        400,
        "A query parameter that is mandatory for this request is not specified.",
    ),
    "InvalidHeaderValue": (
        400,
        "The value for one of the HTTP headers is not in the correct format.",
    ),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "PoolNotFound": (404, "The specified pool does not exist."),
    "NodeNotFound": (404, "The specified node does not exist."),
    "FileNotFound": (404, "The specified file does not exist."),
    "PathNotFound": (404, "The specified path does not exist."),
    "PoolBeingDeleted": (
        409,
        "The specified pool has been marked for deletion and is being reclaimed.",
    ),
    "NodeBeingCreated": (409, "The specified node is being created."),
    "NodeBeingStarted": (409, "The specified node is being started."),
    "NodeBeingRebooted": (409, "The specified node is being rebooted."),
    "NodeBeingReimaged": (409, "The specified node is being reimaged."),
    "NodeStateUnusable": (409, "The specified operation is not permitted on an unusable node."),
    "NodeNotReady": (
        409,
        "Node is not able to perform the requested operations in its current state",
    ),
    "OperationInvalidForCurrentState": (
        409,
        "The specified operation is not valid for the current state of the resource.",
    ),
    "InvalidRange": (416, "The byte range specified is invalid for the specified file."),
    "UnsupportedRequestVersion": (
        400,
        "The specified version of the Batch REST API is not supported.",
    ),
    "ConditionNotMet": (
        412,
        "The condition specified using HTTP conditional header(s) is not met.",
    ),
    "TooManyRequests": (
        429,
        "Request failed as server encountered too many requests. Please try again.",
    ),
    "InternalError": (
        500,
        "Server encountered an internal error. Please try again after some time.",
    ),
    "OperationTimedOut": (500, "Operation could not be completed within the specified time."),
    "ServerBusy": (503, "The server is busy."),
}


class BatchError(Exception):
    """An error answer of the service; ``values`` are its key-value details."""

    def __init__(
        self,
        code: str,
        *values: tuple[str, str],
        status: int | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Make an error of a known code; ``status`` overrides the code's own."""
        super().__init__(code)
        self.code = code
        self.status = ERRORS[code][0] if status is None else status
        self.message = ERRORS[code][1]
        self.values = values
        self.headers = list(headers)


def bad_parameter(name: str, value: str, reason: str) -> BatchError:
    """Return the error for an invalid query parameter, in the recorded shape."""
    return BatchError(
        "InvalidQueryParameterValue",
        ("QueryParameterName", name),
        ("QueryParameterValue", value),
        ("Reason", reason),
    )


@dataclass
class Reply:
    """A reply before it is sent: its body is bytes or an iterator of pieces.

    ``encoding`` is the Content-Encoding of a body that is already compressed. With
    ``has_length`` the body comes with its length and uncompressed, else chunked.
    """

    status: int
    body: bytes | Iterable[bytes]
    headers: Headers = field(default_factory=list)
    content_type: str = JSON_TYPE
    encoding: str | None = None
    has_length: bool = False


def error_body(base: str, error: BatchError, request_id: str, time: str) -> bytes:
    """Return a BatchError; the message ends with RequestId and Time lines, as recorded."""
    document: dict[str, object] = {
        "odata.metadata": f"{base}/$metadata#Microsoft.Azure.Batch.Protocol.Entities.Container"
        ".errors/@Element",
        "code": error.code,
        "message": {
            "lang": "en-US",
            "value": f"{error.message}\nRequestId:{request_id}\nTime:{time}",
        },
    }
    if error.values:
        document["values"] = [{"key": key, "value": value} for key, value in error.values]
    return json.dumps(document).encode()


def error_reply(base: str, error: BatchError, request_id: str, time: str) -> Reply:
    """Return the reply for an error. Error bodies have a length and are not chunked."""
    if error.status == 304:
        return Reply(304, b"", list(error.headers), has_length=True)
    body = error_body(base, error, request_id, time)
    return Reply(error.status, body, list(error.headers), has_length=True)
