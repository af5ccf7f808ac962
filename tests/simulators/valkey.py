"""A strict server of RESP2 with the commands of Valkey that a cache needs: access control, expiry, TLS, and faults on demand."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

FEW = frozenset({"AUTH", "DEL", "GET", "PING", "SELECT", "SET"})


class ValkeyServer:
    """Serves on a free port of 127.0.0.1 while it is a context manager.

    `password`: asked for with AUTH, for `user` where one is given. `iam`: a cache's name; the password must be a request signed
    for it. `folder`: where a certificate is made; the server then speaks TLS alone.
    """

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        iam: str = "",
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.user, self.password, self.iam = user, password, iam
        self.clock = clock
        self.values: dict[str, tuple[bytes, float]] = {}
        self.commands: list[list[str]] = []
        self.connections = 0
        self.faults: list[str] = []
        """Taken one for each command: `close` before it is done, `hang`, `loading`, `moved`, `nonsense`, `cut` in the answer."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._quit = threading.Event()
        self.certificate = folder / "valkey.pem" if folder else None
        self._tls = certify(self.certificate) if self.certificate else None

    def __enter__(self) -> Self:
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._quit.set()
        self.hang_up()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is reached, without the sign-in."""
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """A context that believes this server's certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def hang_up(self) -> None:
        """Closes every connection, as a restart or a long silence does."""
        with self._lock:
            lines, self._open = list(self._open), set()
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _serve(self, raw: socket.socket) -> None:
        line = raw
        try:
            if self._tls:
                line = self._tls.wrap_socket(raw, server_side=True)
        except OSError:
            return
        with self._lock:
            self._open.add(line)
            self.connections += 1
        known = not (self.password or self.iam)
        with contextlib.suppress(OSError, ValueError), line, line.makefile("rb") as reading:
            while command := _command(reading):
                name = command[0].upper()
                self.commands.append([name, *command[1:]])
                if name == "AUTH":
                    known = self._signs_in(command[1:])
                    line.sendall(b"+OK\r\n" if known else b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
                elif not known:
                    line.sendall(b"-NOAUTH Authentication required.\r\n")
                elif not self._faulty(line):
                    line.sendall(self._answer(name, command[1:]))

    def _faulty(self, line: socket.socket) -> bool:
        """True where a fault has taken the answer's place."""
        match self.faults.pop(0) if self.faults else "":
            case "":
                return False
            case "close":
                raise ConnectionAbortedError
            case "hang":
                self._quit.wait(5)
                raise ConnectionAbortedError
            case "loading":
                line.sendall(b"-LOADING Valkey is loading the dataset in memory\r\n")
            case "moved":
                line.sendall(b"-MOVED 3999 127.0.0.1:6381\r\n")
            case "nonsense":
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n")
            case "cut":
                line.sendall(b"$400\r\nhalf")
                raise ConnectionAbortedError
        return True

    def _signs_in(self, given: list[str]) -> bool:
        user, password = (given[0], given[1]) if len(given) == 2 else ("", given[0])
        if not self.iam:
            return (user, password) == (self.user, self.password)
        parts = urlsplit(f"http://{password}")
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        wanted = {"Action": "connect", "User": self.user, "ResourceType": "ServerlessCache", "X-Amz-Expires": "900"}
        signed = query.get("X-Amz-Signature", "") and "/elasticache/aws4_request" in query.get("X-Amz-Credential", "")
        return bool(signed) and user == self.user and parts.hostname == self.iam and wanted.items() <= query.items()

    def _answer(self, name: str, arguments: list[str]) -> bytes:
        match name, arguments:
            case "PING", []:
                return b"+PONG\r\n"
            case "SELECT", [_]:
                return b"+OK\r\n"
            case "GET", [key]:
                value, until = self.values.get(key, (b"", 0.0))
                return b"$%d\r\n%b\r\n" % (len(value), value) if until > self.clock() else b"$-1\r\n"
            case "SET", [key, text, "PXAT", at] if at.isdecimal() and int(at) > 0:
                self.values[key] = (text.encode("utf-8", "surrogatepass"), int(at) / 1000)
                return b"+OK\r\n"
            case "DEL", [key]:
                return b":%d\r\n" % (self.values.pop(key, None) is not None)
        return b"-ERR syntax error\r\n" if name in FEW else b"-NOPERM this user has no permissions to run the command\r\n"


def _command(reading: Any) -> list[str]:
    """The next command, or nothing at the end. `Any`: a socket's file. Raises ValueError for what is no array of bulk strings."""
    head: bytes = reading.readline()
    if not head:
        return []
    if head[:1] != b"*" or not head.endswith(b"\r\n"):
        raise ValueError(head)
    parts = []
    for _ in range(int(head[1:])):
        length = reading.readline()
        if length[:1] != b"$":
            raise ValueError(length)
        body = reading.read(int(length[1:]) + 2)
        if not body.endswith(b"\r\n"):
            raise ValueError(body)
        parts.append(body[:-2].decode("utf-8", "surrogatepass"))
    return parts


def certify(path: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1, written to `path` together with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
