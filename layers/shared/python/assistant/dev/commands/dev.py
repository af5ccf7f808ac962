"""Runs the whole assistant on this machine: the same functions as on AWS, with AWS itself played by a local server.

examples:
  assistant dev
  assistant dev --port 9000 --data ./state --secrets secrets.json
  assistant dev --model openai:qwen3@http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets as random_secrets
import signal
import sys
import threading
import time
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from assistant.dev.emulator import environment_at, settings_at
from assistant.dev.emulator_process import EmulatorProcess
from assistant.dev.runner import EventSource, Functions, Schedule, listen, serve
from assistant.errors import InvalidSetting
from assistant.observability import configure_logging
from assistant.platforms import PLATFORMS
from assistant.settings import Settings

HELP = "run everything on this machine"

LOOK_SECONDS: Final = 60
"""How often the roll-out's plan is looked at; on AWS a rule of EventBridge does it."""
PAGES_SECONDS: Final = 24 * 3600
"""Between two looks at the web pages in the knowledge, as in a deployment."""

OURS: Final = frozenset({"stage", "region", "table_name", "turns_queue_url", "dead_letters_url", "bucket", "figures"})
"""Settings that the local run decides itself."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    env = os.environ
    parser.add_argument("--port", type=int, default=int(env.get("PORT") or 8080), help="default 8080")
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this machine only")
    parser.add_argument("--data", type=Path, default=Path(".assistant"), metavar="DIR", help="where state is kept (.assistant)")
    parser.add_argument("--secrets", type=Path, metavar="FILE", help='JSON: {"slack": {"signing_secret": …}, …}')
    parser.add_argument(
        "--model", default=env.get("MODEL") or "builtin", metavar="SPEC", help="builtin, openai:MODEL@BASE_URL, …"
    )
    parser.add_argument("--cache", default="", metavar="URL", help="Valkey or Redis as the shared cache: redis://HOST:PORT")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML with further settings, such as timezone")
    parser.add_argument("--simulate", action="store_true", help="play the chat platforms too, on a page of their own")
    parser.add_argument("--json-logs", action="store_true", help="logs as on AWS: JSON lines in ECS field names")


def run(args: argparse.Namespace) -> int:
    """Serves until Ctrl-C."""
    began = time.perf_counter()
    configure_logging("INFO", stream=sys.stderr, pretty=not args.json_logs)
    check_model(args.model)
    check_cache(args.cache)
    secrets = read_secrets(args.secrets)
    more = read_config(args.config)
    stage = simulators(secrets) if args.simulate else None
    listening = listen(args.host, args.port)
    host, port = listening.getsockname()[:2]
    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104  # compared, not bound
    emulator = EmulatorProcess(args.data)
    emulator.start()
    functions = Functions()
    for name in ("webhook", "api", "dialogue"):  # while the emulator starts
        functions.load(name)
    emulator.ready()
    os.environ.update(environment_at(emulator.endpoint))
    key = api_key(args.data, secrets)
    settings = settings_at(
        emulator.endpoint,
        model=args.model,
        knowledge_folder=str(args.data.resolve()),
        public_url=url,
        log_format="ecs" if args.json_logs else "pretty",
        figures="process",
        **({"cache_url": args.cache} if args.cache else {}),
        **more,
    )
    os.environ.update(settings.to_env())
    client = store_secrets(secrets, settings)
    threading.Thread(target=functions.initialise, args=("webhook", "dialogue", "api"), name="initialise", daemon=True).start()
    server = serve(listening, functions)
    source = EventSource(functions, client("sqs"), settings)
    source.start()
    schedules = [Schedule(functions, "init", {"task": task}, every=LOOK_SECONDS) for task in ("rollout", "silence")]
    schedules.append(Schedule(functions, "ingest", {"detail-type": "Scheduled Event"}, every=PAGES_SECONDS))
    for schedule in schedules:
        schedule.start()
    (args.data / "url").write_text(url, encoding="ascii")  # where the other commands find this run
    page = stage.serve(f"{url}/webhook") if stage else None
    print(banner(url, key, args, secrets, time.perf_counter() - began, chats=page.url if page else ""), flush=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    print("\nstopping…", flush=True)
    (args.data / "url").unlink(missing_ok=True)
    if stage:
        stage.stop()
    server.shutdown()
    for schedule in schedules:
        schedule.stop()
    source.stop()
    emulator.stop()
    return 0


class Simulated:
    """The simulated chat platforms and the page that shows them."""

    def __init__(self) -> None:
        from tests.simulators.stages import Cast

        self._cast = Cast()
        self._page: Any = None
        self.secrets = self._cast.start()

    def serve(self, webhooks: str) -> Any:
        """The page, served; `webhooks` is where the assistant takes the platforms' requests."""
        from tests.simulators.page import serve as serve_page

        self._page = serve_page(self._cast.stages, webhooks)
        return self._page

    def stop(self) -> None:
        """Ends the page and the platforms."""
        if self._page:
            self._page.stop()
        self._cast.stop()


def simulators(secrets: dict[str, dict[str, str]]) -> Simulated:
    """Starts the simulated platforms and puts their secrets in; raises InvalidSetting outside a checkout of the repository."""
    try:
        made = Simulated()
    except ModuleNotFoundError as error:
        raise InvalidSetting(f"--simulate needs a checkout of the repository: {error}") from None
    secrets.update(made.secrets)
    return made


def check_model(spec: str) -> None:
    """Raises InvalidSetting for a model that cannot be used."""
    from assistant.llm.models import open_model

    open_model(spec, region="us-east-1")


def check_cache(url: str) -> None:
    """Raises InvalidSetting for a cache that does not answer; while serving, one that stops answering is done without."""
    if not url:
        return
    from assistant.errors import Unavailable
    from assistant.valkey import Valkey

    server = Valkey(url)
    try:
        server.ask("PING")
    except Unavailable as error:
        raise InvalidSetting(f"{error}; start it, or leave --cache away") from None
    finally:
        server.close()


def read_secrets(path: Path | None) -> dict[str, dict[str, str]]:
    """The platforms' secrets in the file; raises InvalidSetting where it is unusable."""
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSetting(f"secrets file {str(path)!r} cannot be read: {error.strerror}; check --secrets") from None
    except ValueError as error:
        raise InvalidSetting(f"secrets file {str(path)!r} is not JSON: {error}") from None
    if not isinstance(data, dict) or not all(isinstance(v, dict) for v in data.values()):
        raise InvalidSetting(f'secrets file {str(path)!r} must look like {{"slack": {{"signing_secret": "…"}}}}')
    known = {*PLATFORMS, "model"}
    if unknown := sorted(n for n in data if n not in known and not n.startswith(("oauth-", "plugin-"))):
        raise InvalidSetting(
            f"secrets file {str(path)!r} names {unknown[0]!r}; known: {', '.join(sorted(known))}, oauth-PROVIDER, plugin-NAME"
        )
    return data


def read_config(path: Path | None) -> dict[str, Any]:
    """Settings in the TOML file; raises InvalidSetting for an unknown name or a wrong type."""
    if path is None:
        return {}
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSetting(f"configuration file {str(path)!r} cannot be read: {error.strerror}; check --config") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(f"configuration file {str(path)!r} is not TOML: {error}") from None
    known = {f.name: f.type for f in fields(Settings) if f.name not in OURS}
    for name, value in data.items():
        if name not in known:
            raise InvalidSetting(f"configuration file {str(path)!r} sets {name!r}; known: {', '.join(sorted(known))}")
        if type(value).__name__ != known[name]:
            raise InvalidSetting(f"configuration file {str(path)!r}: {name} = {value!r} must be of type {known[name]}")
    return data


def api_key(data: Path, secrets: dict[str, dict[str, str]]) -> str:
    """The web chat's key: the one in the secrets, else one that is made once and kept in the data folder."""
    given = secrets.setdefault("webchat", {})
    if chosen := os.environ.get("API_KEY"):
        given.setdefault("api_key", chosen)
    if not given.get("api_key"):
        kept = data / "api-key"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(random_secrets.token_urlsafe(24), encoding="ascii")
        given["api_key"] = kept.read_text(encoding="ascii").strip()
    return given["api_key"]


def store_secrets(secrets: dict[str, dict[str, str]], settings: Settings) -> Any:
    """Puts the secrets where the functions look for them; gives a maker of boto3 clients."""
    import boto3

    session = boto3.Session()
    manager = session.client("secretsmanager")
    for name, fields_ in secrets.items():
        manager.create_secret(Name=f"{settings.secrets_prefix}/{name}", SecretString=json.dumps(fields_))
    return session.client


def banner(
    url: str, key: str, args: argparse.Namespace, secrets: dict[str, dict[str, str]], took: float, *, chats: str = ""
) -> str:
    """What a newcomer needs to know."""
    others = [p for p in secrets if p in PLATFORMS and p != "webchat"]
    logging.getLogger(__name__).debug("ready after %.1f s", took)
    lines = [
        f"The assistant is ready after {took:.1f} s.",
        "",
        f"  Chat in a browser   {url}/#key={key}",
        *([f"  Simulated chats     {chats}"] if chats else []),
        f"  API key             {key}",
        f"  Model               {args.model}",
        f"  State is kept in    {args.data}",
        f"  Platforms           web chat{''.join(', ' + p for p in others)}",
        "",
        'Try: "What can you do?", "How do I connect Slack?", "怎么写插件？"   Ctrl-C ends it.',
    ]
    return "\n".join(lines)
