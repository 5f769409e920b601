"""The app over a socket: threads, keep-alive, TLS with a generated certificate."""

import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from cheroot import wsgi

from .account import EmulatedAccount

#: Wildcard addresses, and the address at which a local client reaches each.
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104


class Server:
    """A server that runs until its context ends.

    ``endpoint`` is the account's URL, ``settings`` what a Shared Key client reads from its
    environment, ``identity_settings`` what azure-identity does. With TLS the token endpoint has
    a plain loopback port of its own: azure-identity cannot be given a certificate to trust.
    """

    def __init__(
        self, emulator: EmulatedAccount, app: Any, *, port: int, host: str, tls: bool, threads: int
    ) -> None:
        """Prepare to serve a WSGI app; entering the context binds the port."""
        self.emulator = emulator
        self._app = app
        self.endpoint = ""
        self.ca_file: str | None = None
        self._address = (host, port)
        self._tls = tls
        self._threads = threads
        self._servers: list[tuple[wsgi.Server, threading.Thread]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._identity_endpoint = ""

    def __enter__(self) -> "Server":
        """Bind and serve in background threads."""
        host, port = self._address
        self.emulator.closing.clear()
        if host not in _EVERY_ADDRESS:
            self.emulator.listens_on.add(host.lower())
        _check_free(host, port)
        try:
            server = _quiet_server((host, port), self._app, self._threads)
            if self._tls:
                self._folder = tempfile.TemporaryDirectory(prefix="emulator-tls-")
                certificate, key = make_certificate(Path(self._folder.name), host)
                from cheroot.ssl.builtin import BuiltinSSLAdapter

                server.ssl_adapter = BuiltinSSLAdapter(str(certificate), str(key))
                self.ca_file = str(certificate)
            bound = self._start(server)
            shown = f"[{host}]" if ":" in host else host
            shown = _EVERY_ADDRESS.get(host, shown)
            self.endpoint = f"{'https' if self._tls else 'http'}://{shown}:{bound}"
            self._identity_endpoint = f"{self.endpoint}/msi/token"
            if self._tls:
                plain = self._start(_quiet_server(("127.0.0.1", 0), self._app, 2))
                self._identity_endpoint = f"http://127.0.0.1:{plain}/msi/token"
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop serving."""
        self._stop()

    @property
    def settings(self) -> dict[str, str]:
        """AZURE_BATCH_ENDPOINT, AZURE_BATCH_ACCOUNT and AZURE_BATCH_ACCESS_KEY."""
        return self.emulator.settings_for(self.endpoint)

    @property
    def identity_settings(self) -> dict[str, str]:
        """IDENTITY_ENDPOINT and IDENTITY_HEADER for a real ManagedIdentityCredential."""
        return {
            "IDENTITY_ENDPOINT": self._identity_endpoint,
            "IDENTITY_HEADER": self.emulator.tokens.identity_header,
        }

    def _start(self, server: wsgi.Server) -> int:
        server.prepare()
        thread = threading.Thread(target=server.serve, name="emulator", daemon=True)
        thread.start()
        self._servers.append((server, thread))
        port: int = server.bind_addr[1]
        return port

    def _stop(self) -> None:
        self.emulator.closing.set()
        with self.emulator.lock:  # a running move of the clock ends after its step
            pass
        for server, thread in self._servers:
            server.stop()
            thread.join(timeout=10)
        self._servers.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _check_free(host: str, port: int) -> None:
    """Raise the OSError of a port in use: cheroot would leave its socket open."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


class _QuietServer(wsgi.Server):
    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Log nothing: closed connections and dropped bodies are expected."""


def _quiet_server(address: tuple[str, int], app: Any, threads: int) -> wsgi.Server:
    """Return a server that does not log closed connections and dropped bodies."""
    return _QuietServer(address, app, numthreads=threads, shutdown_timeout=5)


_KEY_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def make_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for loopback and ``host``; return its path and that of its key."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nodelake emulator")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    for text in dict.fromkeys(["127.0.0.1", "::1", host]):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    now = datetime.now(UTC)
    # Python 3.13 and later trust no certificate without these three.
    usage = dict.fromkeys(_KEY_USES, False) | {"digital_signature": True, "key_cert_sign": True}
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_path, key_path
