"""A request that cannot be repeated goes over a connection that stands before anything is noted of it."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from assistant.errors import OutcomeUnknown, VendorUnavailable
from assistant.platforms import outbound
from assistant.platforms.outbound import Line, call
from tests.simulators.valkey import certify


class Server:
    """Answers one request a connection with `answer`; empty: hangs up instead."""

    def __init__(self, answer: bytes, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self.met = threading.Event()
        """Somebody has connected, and spoken TLS where it is wanted."""
        self._answer, self._context = answer, context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._listening.getsockname()[1]}/send"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        there, _ = self._listening.accept()
        with suppress(OSError), there, self._context.wrap_socket(there, server_side=True) if self._context else there as line:
            self.met.set()
            asked = b""
            while not asked.endswith(b"}") and (more := line.recv(65_536)):
                asked += more
            if asked:
                self.asked.append(asked)
                line.sendall(self._answer)

    def stop(self) -> None:
        self._thread.join(5)
        self._listening.close()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's TLS whose certificate is trusted here."""
    made = certify(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    outbound._tls.cache_clear()
    yield made
    outbound._tls.cache_clear()


def test_the_line_stands_with_tls_before_anything_is_sent(trusted: ssl.SSLContext) -> None:
    body = gzip.compress(b'{"ok": true}')
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    server = Server(head + body, trusted)
    with Line("dingtalk", server.url) as line:
        assert server.met.wait(5)
        assert server.asked == []
        answer = call("dingtalk", "POST", server.url, through=line, json={"text": "好"}, headers={"x-token": "t"})
    server.stop()
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    (asked,) = server.asked
    assert asked.startswith(b"POST /send HTTP/1.1\r\n")
    assert b"x-token: t\r\n" in asked
    assert asked.endswith('{"text":"好"}'.encode())


def test_a_certificate_that_nobody_trusts_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    server = Server(b"", certify(tmp_path / "server.pem"))
    with pytest.raises(VendorUnavailable):
        Line("dingtalk", server.url)
    server.stop()
    assert server.asked == []


def test_where_nobody_listens_there_is_no_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(VendorUnavailable, match="dingtalk cannot be reached"):
        Line("dingtalk", url)


def test_a_line_that_breaks_after_the_request_left_makes_its_outcome_unknown() -> None:
    server = Server(b"")
    with Line("teams", server.url) as line, pytest.raises(OutcomeUnknown):
        call("teams", "POST", server.url, through=line, json={})
    server.stop()
    assert len(server.asked) == 1


def test_a_line_that_is_not_used_is_hung_up() -> None:
    server = Server(b"")
    with Line("teams", server.url):
        pass
    server.stop()
    assert server.asked == []
