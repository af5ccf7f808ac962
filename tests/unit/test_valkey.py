"""The cache that all instances share, on a strict double of Valkey and, where one is installed, on the real server."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assistant.cache import Cache
from assistant.errors import InvalidSetting, Unavailable
from assistant.valkey import PAUSE, ServerCache, Valkey, parse
from tests.simulators.valkey import ValkeyServer

REAL = shutil.which("valkey-server") or shutil.which("redis-server")


class Durable:
    """The level that forgets nothing."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def read(self, key: str) -> tuple[str, float] | None:
        raise AssertionError("values are not read from the durable level")

    def write(self, key: str, value: str, until: float) -> None:
        raise AssertionError("values are not written to the durable level")

    def add(self, key: str, value: str, until: float) -> bool:
        return self.kept.setdefault(key, value) is value and len(self.kept) > 0

    def drop(self, key: str) -> None:
        raise AssertionError("nothing is dropped from the durable level")


@pytest.fixture(scope="module", params=["double", pytest.param("real", marks=pytest.mark.skipif(
    REAL is None, reason="no valkey-server or redis-server on this machine: `apt-get install redis-server`"))])  # fmt: skip
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that wants the password "tall-pines"."""
    if request.param == "double":
        with ValkeyServer(password="tall-pines") as double:
            yield f"redis://:tall-pines@127.0.0.1:{double.port}"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("valkey")
    command = [
        str(REAL),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
        "--requirepass",
        "tall-pines",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_it_listens(port)
            yield f"redis://:tall-pines@127.0.0.1:{port}/1"
        finally:
            process.terminate()


def _until_it_listens(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # another process: nothing tells when it is ready
        else:
            return
    raise AssertionError("the server does not listen")


OPENED: list[Valkey] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every connection of a test is closed at its end."""
    yield
    while OPENED:
        OPENED.pop().close()


def client(
    url: str, *, timeout: float = 2, clock: Callable[[], float] = time.monotonic, trust: ssl.SSLContext | None = None
) -> Valkey:
    OPENED.append(made := Valkey(url, timeout=timeout, clock=clock, trust=trust))
    return made


def shared(url: str, durable: Durable | None = None) -> ServerCache:
    return ServerCache(client(url), durable or Durable(), prefix="dev:")


def once(value: str, seconds: float = 60) -> Callable[[], tuple[str, float]]:
    """A source that may be asked once."""
    left = [value]
    return lambda: (left.pop(), seconds)


def never() -> tuple[str, float]:
    raise AssertionError("the source was asked")


@pytest.mark.parametrize("value", ["t-1234", "", "第一行\nsecond line\r\n$4\r\n", "x" * 200_000, "\ud83d half"])
def test_what_one_instance_fetched_another_reads(server: str, value: str) -> None:
    key = f"token {len(value)} {value[:3]!r}"
    assert Cache(shared(server)).get(key, once(value)) == value
    assert Cache(shared(server)).get(key, never) == value


def test_a_dropped_value_is_loaded_anew_by_all(server: str) -> None:
    one, other = Cache(shared(server)), Cache(shared(server))
    assert one.get("dropped", once("old")) == "old"
    one.drop("dropped")
    assert other.get("dropped", once("new")) == "new"


def test_a_value_ends_in_the_server_at_its_time(server: str) -> None:
    level = shared(server)
    level.write("short", "v", time.time() + 0.05)
    level.write("long", "v", until := time.time() + 60)
    assert level.read("long") == ("v", until)
    time.sleep(0.12)  # the real server has a clock of its own
    assert level.read("short") is None


def test_what_must_not_be_forgotten_is_not_in_the_cache(server: str) -> None:
    durable = Durable()
    level = shared(server, durable)
    assert Cache(level).first("signature", 60)
    assert set(durable.kept) == {"signature"}
    assert level.read("signature") is None


def test_somebody_elses_value_under_our_key_is_no_value(server: str) -> None:
    client(server).ask("SET", "dev:odd", "not ours", "PXAT", str(int(time.time() * 1000) + 60_000))
    client(server).ask("SET", "dev:odder", "soon\nvalue", "PXAT", str(int(time.time() * 1000) + 60_000))
    assert shared(server).read("odd") is None
    assert shared(server).read("odder") is None


def test_a_wrong_password_is_an_outage_and_is_not_shown(server: str) -> None:
    with pytest.raises(Unavailable) as caught:
        client(server.replace("tall-pines", "short-oaks")).ask("PING")
    assert "short-oaks" not in str(caught.value)


def test_a_connection_that_was_closed_while_nobody_spoke_is_made_again() -> None:
    with ValkeyServer() as double:
        level = shared(double.url)
        level.write("k", "v", time.time() + 60)
        double.hang_up()
        assert level.read("k") is not None
        double.faults = ["close"]
        assert level.read("k") is not None
        assert double.connections == 3


@pytest.mark.parametrize("fault", ["loading", "moved", "nonsense", "cut", "hang"])
def test_whatever_the_server_does_the_source_answers(fault: str) -> None:
    with ValkeyServer() as double:
        double.faults = [fault] * 2
        server = client(double.url, timeout=0.1)
        assert Cache(ServerCache(server, Durable(), prefix="")).get("k", once("from the source")) == "from the source"


def test_a_server_that_does_not_answer_costs_one_wait_and_comes_back() -> None:
    now = 100.0
    with ValkeyServer() as double:
        double.faults = ["hang"]
        level = ServerCache(client(double.url, timeout=0.05, clock=lambda: now), Durable(), prefix="")
        with pytest.raises(Unavailable, match="TimeoutError"):
            level.read("k")
        asked = len(double.commands)
        with pytest.raises(Unavailable, match="next try in 5 s"):
            level.read("k")
        level.drop("k")
        assert len(double.commands) == asked
        now += PAUSE
        assert level.read("k") is None


def test_nobody_listening_is_an_outage() -> None:
    with socket.socket() as taken:  # bound and never listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="ConnectionRefusedError"):
            client(f"redis://127.0.0.1:{taken.getsockname()[1]}").ask("PING")


def test_a_role_signs_in_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with ValkeyServer(user="assistant-dev", iam="assistant-dev", folder=tmp_path) as double:
        url = double.url.replace("//", "//assistant-dev@")
        assert client(f"{url}?iam=assistant-dev", trust=double.trust()).ask("PING") == "PONG"
        with pytest.raises(Unavailable, match="ConnectionRefusedError"):
            client(f"{url}?iam=another-cache", trust=double.trust()).ask("PING")
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            client(f"{url}?iam=assistant-dev").ask("PING")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://cache:6379", "redis://127.0.0.1:6379"),
        ("redis://", "redis://127.0.0.1:6379"),
        ("redis://cache:many", "no number"),
        ("redis://cache/first", "no number"),
        ("redis://u@cache?iam=c", "TLS"),
        ("rediss://cache?iam=c", "user"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_with_a_good_one(url: str, hint: str) -> None:
    with pytest.raises(InvalidSetting, match=hint):
        parse(url)


def test_a_password_in_a_bad_address_is_not_shown() -> None:
    with pytest.raises(InvalidSetting) as caught:
        parse("https://me:tall-pines@cache")
    assert "tall-pines" not in str(caught.value)
