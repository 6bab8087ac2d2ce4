"""A token service as registries trust them, and a socket that speaks something else."""

import base64
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from setpoint.packaging.logins import Login


class Service:
    """Signs that somebody may do what they ask for in ``team/…``; nothing elsewhere."""

    def __init__(self, folder: Path, login: Login) -> None:
        self.asked: list[str] = []
        self._login = login
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
        made = made.public_key(self._key.public_key()).serial_number(1)
        made = made.not_valid_before(now - timedelta(days=1))
        made = made.not_valid_after(now + timedelta(days=1))
        self._certificate = made.sign(self._key, hashes.SHA256())
        self._bundle = folder / "bundle.pem"
        self._bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.url = ""

    @property
    def settings(self) -> dict[str, str]:
        """What a registry is told that trusts this service."""
        return {
            "realm": f"{self.url}/token",
            "service": "registry",
            "issuer": "tokens",
            "rootcertbundle": str(self._bundle),
        }

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        if authorization != self._login.basic:
            return 401, {"errors": [{"code": "UNAUTHORIZED"}]}
        scopes = parse_qs(urlsplit(path).query).get("scope", [])
        self.asked += scopes
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            if name.startswith("team/"):
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return 200, {"token": self._signed(access)}

    def _signed(self, access: list[dict[str, Any]]) -> str:
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {
            "iss": "tokens",
            "sub": self._login.user,
            "aud": "registry",
            "iat": now,
            "nbf": now - 60,
            "exp": now + 300,
            "jti": "1",
            "access": access,
        }
        signed = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
        raw = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(raw)
        return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@contextmanager
def service(folder: Path, login: Login) -> Iterator[Service]:
    """Run a token service that knows one user."""
    made = Service(folder, login)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, said = made.answer(self.path, self.headers.get("Authorization") or "")
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def speaking(said: bytes) -> Iterator[str]:
    """Listen, and say the same to everybody; yield the host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def greet() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.sendall(said)
                    connection.recv(10_000)

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
