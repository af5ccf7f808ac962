"""A running assistant, local or deployed, as the commands talk to it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from assistant.errors import InvalidSetting


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--url`, `--api-key` and `--data`, with the local run's values where none are given."""
    env = os.environ
    url = env.get("ASSISTANT_URL") or f"http://127.0.0.1:{env.get('PORT') or 8080}"
    parser.add_argument("--url", default=url, help=f"address of the assistant ({url})")
    parser.add_argument("--api-key", default=env.get("API_KEY") or "", metavar="KEY", help="its API key (the local run's)")
    parser.add_argument(
        "--data", type=Path, default=Path(".assistant"), metavar="DIR", help="the local run's folder, for its key (.assistant)"
    )


def get(args: argparse.Namespace, path: str, *, seconds: float = 60) -> Any:
    """The JSON that the assistant answers to a GET of `path`; raises InvalidSetting where it cannot be asked."""
    import httpx

    url = args.url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidSetting(f"--url {args.url!r} is no http:// or https:// address")
    try:
        answer = httpx.get(f"{url}{path}", headers={"authorization": f"Bearer {_key(args)}"}, timeout=seconds)
    except httpx.HTTPError as error:
        raise InvalidSetting(f"{url} does not answer ({type(error).__name__}); is it running? see --url") from None
    if answer.status_code == 401:
        raise InvalidSetting(f"{url} does not accept the API key; see --api-key")
    try:
        data = answer.json()
    except ValueError:
        data = None
    if answer.status_code != 200 or data is None:
        raise InvalidSetting(f"{url}{path} answered {answer.status_code}; is this address an assistant's?")
    return data


def _key(args: argparse.Namespace) -> str:
    if args.api_key:
        return str(args.api_key)
    kept = args.data / "api-key"
    return kept.read_text(encoding="ascii").strip() if kept.is_file() else ""
