"""Web pages are fetched from public hosts only, whatever names, redirects and addresses try."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assistant.knowledge.loaders import Unreadable
from assistant.knowledge.web import NotFetched, fetch, is_public

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """A web server on this machine; `pages` decides by path, `seen` keeps each request's path and Host."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.seen: list[tuple[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.path, self.headers["host"]))
                status, headers, body = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()
    site.thread.join()


@pytest.fixture
def site(running: Site) -> Site:
    running.pages.clear()
    running.seen.clear()
    return running


def names(**hosts: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: [hosts[host.replace(".", "_")]]


def here(address: str) -> bool:
    """Stands for the public internet in these tests: this machine's first loop-back address is public, nothing else."""
    return address == "127.0.0.1"


HTML = {"content-type": "text/html; charset=utf-8"}


def test_a_page_is_fetched_by_its_name_from_the_address_that_was_checked(site: Site) -> None:
    site.pages["/a?q=1"] = (200, HTML, "<title>Travel</title><p>差旅标准".encode())
    page = fetch(f"http://intra.example:{site.port}/a?q=1", resolve=names(intra_example="127.0.0.1"), allow=here)
    assert site.seen == [("/a?q=1", f"intra.example:{site.port}")]
    loaded = page.load()
    assert (loaded.title, loaded.sections[0].text) == ("Travel", "差旅标准")


def test_the_name_is_resolved_once_so_that_a_second_answer_cannot_matter(site: Site) -> None:
    site.pages["/"] = (200, HTML, b"<p>hello")
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    fetch(f"http://rebinding.example:{site.port}/", resolve=lambda h, p: next(answers), allow=here)
    assert next(answers) == ["10.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_local_and_special_addresses_are_never_called(address: str, site: Site) -> None:
    assert not is_public(address)
    with pytest.raises(NotFetched, match="private or local"):
        fetch(f"http://evil.example:{site.port}/", resolve=lambda h, p: [address])
    with pytest.raises(NotFetched, match="private or local"):  # also among public ones
        fetch(f"http://evil.example:{site.port}/", resolve=lambda h, p: ["93.184.216.34", address])
    assert site.seen == []


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://[::1]/", "http://localhost/"],
)
def test_numbers_in_disguise_are_recognised(url: str) -> None:
    with pytest.raises(NotFetched, match=r"private or local|no such host"):
        fetch(url)


def test_each_redirect_is_checked_like_the_first_address(site: Site) -> None:
    resolve = names(public_example="127.0.0.1", inside_example="10.0.0.5")
    site.pages["/out"] = (302, {"location": "http://inside.example/secret"}, b"")
    with pytest.raises(NotFetched, match=r"'inside\.example' is at a private"):
        fetch(f"http://public.example:{site.port}/out", resolve=resolve, allow=here)
    site.pages["/file"] = (302, {"location": "file:///etc/passwd"}, b"")
    with pytest.raises(NotFetched, match="must begin with https"):
        fetch(f"http://public.example:{site.port}/file", resolve=resolve, allow=here)
    site.pages["/half"] = (302, {"location": "http://[half"}, b"")
    with pytest.raises(NotFetched, match="no web address"):
        fetch(f"http://public.example:{site.port}/half", resolve=resolve, allow=here)
    with pytest.raises(NotFetched, match="no web address"):
        fetch("http://[half", resolve=resolve, allow=here)
    site.pages["/loop"] = (302, {"location": "/loop"}, b"")
    with pytest.raises(NotFetched, match="redirects more than 5"):
        fetch(f"http://public.example:{site.port}/loop", resolve=resolve, allow=here)
    site.pages["/moved"] = (301, {"location": "/a"}, b"")
    site.pages["/a"] = (200, HTML, b"<p>found")
    page = fetch(f"http://public.example:{site.port}/moved", resolve=resolve, allow=here)
    assert page.url.endswith("/a")


def test_what_is_too_large_wrong_or_missing_is_refused_with_its_address(site: Site) -> None:
    url = f"http://public.example:{site.port}"
    resolve = names(public_example="127.0.0.1")
    site.pages["/big"] = (200, HTML, b"x" * 5000)
    site.pages["/image"] = (200, {"content-type": "image/png"}, b"x")
    site.pages["/empty"] = (200, HTML, b"")
    site.pages["/slow"] = (200, HTML, b"x" * 500)
    ticks = iter(range(0, 10_000, 15))
    for path, reason in (
        ("/big", "larger than 4,000"),
        ("/image", "'image/png' cannot be read"),
        ("/empty", "empty"),
        ("/no", "404"),
    ):
        with pytest.raises(NotFetched, match=reason) as refusal:
            fetch(url + path, resolve=resolve, allow=here, most_bytes=4000)
        assert str(refusal.value).startswith(url + path)
    with pytest.raises(NotFetched, match="too long"):
        fetch(url + "/slow", resolve=resolve, allow=here, clock=lambda: float(next(ticks)))


@pytest.mark.parametrize(
    "url", ["ftp://a.example/x", "http://", "nonsense", "http://user:secret@a.example/", "http://a.example:99999/"]
)
def test_what_is_no_plain_web_address_is_refused_without_a_call(url: str) -> None:
    with pytest.raises(NotFetched) as refusal:
        fetch(url, resolve=lambda h, p: pytest.fail("resolved"))
    assert "secret" not in str(refusal.value)


def test_a_page_without_text_is_unreadable(site: Site) -> None:
    site.pages["/"] = (200, HTML, b"<script>x</script>")
    page = fetch(f"http://a.example:{site.port}/", resolve=names(a_example="127.0.0.1"), allow=here)
    with pytest.raises(Unreadable, match="no text"):
        page.load()
