"""A running assistant, local or deployed, as the command line talks to it."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from assistant.errors import InvalidSetting
from assistant.words import nearest


class Remote:
    """HTTP with the API key; a context manager."""

    def __init__(self, url: str, key: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidSetting(f"URL {url!r} does not start with http:// or https://; check --url")
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=30)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise InvalidSetting(f"URL {url!r} or the API key cannot be used: {error}; check --url and --api-key") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, **request: Any) -> Any:
        """The decoded answer. Raises InvalidSetting where the assistant cannot be reached or refuses."""
        try:
            with working(f"asking {self.url}"):
                answer = self._http.request(method, path, **request)
        except httpx.TimeoutException:
            raise InvalidSetting(f"{self.url} took too long to answer; try again, or look at it with: assistant doctor") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise InvalidSetting(
                f"{self.url} does not answer ({type(error).__name__}); is `assistant dev` running, or check --url"
            ) from None
        if answer.status_code == 401:
            raise InvalidSetting(f"{self.url} refuses the API key; check --api-key or API_KEY")
        try:
            data = answer.json()
        except ValueError:
            raise InvalidSetting(f"{self.url}{path} answered {answer.status_code} without JSON; check --url") from None
        said = data.get("error", data) if isinstance(data, dict) else data
        if answer.status_code == 429:
            wait = answer.headers.get("retry-after", "60")
            raise InvalidSetting(f"{self.url} asks to come again in {wait} s: {said}")
        if answer.is_error and (answer.status_code != 503 or "error" in data):
            raise InvalidSetting(f"{self.url}{path} answered {answer.status_code}: {said}")
        return data


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--url`, `--api-key` and `--data`."""
    env = os.environ
    parser.add_argument("--url", default=env.get("ASSISTANT_URL", ""), help="address of the assistant; default: the local run's")
    parser.add_argument("--api-key", default=env.get("API_KEY", ""), metavar="KEY", help="default: API_KEY, or the local run's")
    parser.add_argument("--data", type=Path, default=Path(".assistant"), metavar="DIR", help="the local run's data folder")


def connect(args: argparse.Namespace) -> Remote:
    """The assistant that the options name."""
    key = args.api_key
    kept = args.data / "api-key"
    try:
        if not key and kept.exists():
            key = kept.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"the key in {str(kept)!r} cannot be read ({type(error).__name__}); give --api-key") from None
    if not key:
        raise InvalidSetting("no API key; give --api-key, set API_KEY, or name the local run's --data folder")
    return Remote(args.url or local_url(args.data), key)


def language() -> str:
    """The language of this terminal's locale, as `en` or `zh-CN`."""
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return nearest(next(filter(None, named), "en"))


def local_url(data: Path) -> str:
    """Where the local run over the folder `data` listens, as it noted itself; the usual address where it did not."""
    noted = data / "url"
    return noted.read_text(encoding="ascii").strip() if noted.is_file() else "http://127.0.0.1:8080"


SOON = 0.8
"""Seconds after which something that goes on is worth a word."""


@contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Shows on the terminal that something goes on, where it takes long; nothing in a pipe or if `quiet`, and nothing is left
    behind."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()

    def show() -> None:
        began = time.monotonic()
        if ended.wait(SOON):
            return
        while not ended.wait(0.2):
            print(f"\r{what}… {time.monotonic() - began:.0f} s ", end="", file=sys.stderr, flush=True)
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, name="working", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def confirmed(question: str) -> bool:
    """Whether somebody at the terminal says yes; in a pipe nobody does."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes", "是", "好")
    except EOFError:
        return False
