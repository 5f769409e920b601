"""The `httpx.Client` of an account: headers, certificates, proxies, limits."""

from __future__ import annotations

import ssl

import httpx

from pipeline import __version__
from pipeline.config import ConfigError, Limits
from pipeline.extract import auth
from pipeline.redact import redact_text


def http_client(
    endpoint: str, sign_in: httpx.Auth, limits: Limits, transport: httpx.BaseTransport | None
) -> httpx.Client:
    """An `httpx.Client` for one account. Raises ConfigError for a bad proxy or certificate file."""
    url = httpx.URL(endpoint)
    try:
        return httpx.Client(
            auth=sign_in,
            headers={
                "Accept": "application/json;odata=minimalmetadata",
                "Accept-Encoding": "gzip",
                "User-Agent": f"nodelake/{__version__}",
                "return-client-request-id": "true",
            },
            # The environment's proxy may be the only way out; to ourselves it is none: httpx asks
            # it for 127.0.0.1 too unless NO_PROXY says otherwise. SSL_CERT_FILE holds for both;
            # plain http needs no certificates, which take 18 ms to load.
            trust_env=not auth.is_loopback(url.host),
            verify=httpx.create_ssl_context()
            if url.scheme == "https" and transport is None
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=httpx.Limits(
                max_connections=limits.connections,
                max_keepalive_connections=limits.connections,
            ),
            transport=transport,
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # SSL_CERT_FILE is missing, or httpx does not support the proxy's scheme or form.
        raise ConfigError(
            "the environment's certificates or proxies cannot be used: "
            + redact_text(f"{type(error).__name__}: {error}")
        ) from None
