"""An httpx transport that calls the emulator's app without a socket."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from .breakage import ConnectionDropped


class _Stream(httpx.SyncByteStream):
    """A body; where the emulator drops it, httpx's own error is raised."""

    def __init__(self, pieces: httpx.SyncByteStream) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except ConnectionDropped as error:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body"
            ) from error

    def close(self) -> None:
        self._pieces.close()


class EmulatorTransport(httpx.BaseTransport):
    """``httpx.Client(transport=emulator.transport(), base_url=emulator.endpoint)``."""

    def __init__(self, app: Callable[..., Any]) -> None:
        """Send every request to this WSGI app, whatever its host."""
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request from the app, in the caller's thread."""
        raw_path = request.url.raw_path.decode("ascii")

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            # WSGI decodes paths, but signatures cover the raw one: servers pass it under this name.
            return self._app({**environ, "REQUEST_URI": raw_path}, start_response)

        try:
            response = httpx.WSGITransport(app=app).handle_request(request)
        except ConnectionDropped as error:  # before the first byte of the body
            raise httpx.RemoteProtocolError(
                "Server disconnected without sending a response."
            ) from error
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Stream(response.stream)
        return response
