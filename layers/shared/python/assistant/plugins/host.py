"""The other side of an isolated plug-in: `Host` answers requests, in a function of its own or in a process with limits.

`python -m assistant.plugins.host FOLDER MEGABYTES` answers one request a line on standard input; its limits are set before the
plug-in is imported, and can only be lowered from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

from assistant.errors import AssistantError, InvalidSetting, NeedsAuthorisation, ToolFailed, Unavailable
from assistant.messages import Attachment, Message, Reply, message_from_json, to_json
from assistant.plugins.contract import Around, BotPlugin, MenuItem, has, texts
from assistant.plugins.isolated import Manifest
from assistant.plugins.loading import build, config_schema, load_file, plugin_in
from assistant.plugins.running import FAULTS, Plugins
from assistant.storage import Conflict, Item, Table
from assistant.tools import checked_tool, toolbox

LARGEST_ANSWER: Final = 1_000_000
"""Bytes of JSON that an answer may have."""

BASE_MEGABYTES: Final = 1024
"""Address space that Python and its libraries need before the plug-in begins."""


class Host:
    """Runs one plug-in for whoever may ask. `table`: as much of the table as it may reach."""

    def __init__(self, made: type[BotPlugin], *, table: Table | None = None, tenant: str = "default", digest: str = "") -> None:
        self._made = made
        self._table = table
        self._tenant = tenant
        self._digest = digest
        self._built: tuple[str, BotPlugin] | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request; whatever happens, it is one."""
        try:
            answer = self._answer(request)
        except InvalidSetting as error:
            answer = {"invalid": str(error), "fault": str(error)}
        size = len(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
        if size > LARGEST_ANSWER:
            return {"fault": f"its answer has {size:,} bytes; at most {LARGEST_ANSWER:,} are taken"}
        return answer

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        plugin = self._plugin(request.get("config") or {})
        match request["method"]:
            case "describe":
                return {"value": self._manifest(plugin)}
            case "check":
                return {"value": True}
        held = _Held(request.get("held") or ())
        running = _Watched(
            [plugin],
            held,
            table=self._table,
            tenant=self._tenant,
            secrets=lambda name: request.get("secrets") or {},
            authority=lambda: held,
            tell=lambda: held,
            files=lambda: held,
        )
        try:
            value = _done(running, request, held)
        except NeedsAuthorisation:
            value = None
        except ToolFailed as error:
            if not held.asked and not running.broken:
                return {"failed": str(error)}
            value = None
        except Unavailable as error:
            return {"unavailable": str(error)}
        if held.asked:
            return {"needs": held.asked[0]}
        if running.broken:
            return {"fault": running.broken[0], "fatal": running.fatal}
        return {"value": value}

    def _plugin(self, config: Mapping[str, Any]) -> BotPlugin:
        text = json.dumps(config, sort_keys=True)
        if self._built is None or self._built[0] != text:
            self._built = text, build(self._made, config)
        return self._built[1]

    def _manifest(self, plugin: BotPlugin) -> dict[str, Any]:
        if plugin.flows:
            raise InvalidSetting(
                f"plug-in {plugin.name} declares flow {plugin.flows[0].name!r}; forms are filled in the dialogue, not in a "
                "function of its own: offer a tool that asks first instead, as @tool(writes=True)"
            )
        tools = toolbox(checked_tool(t) for t in plugin.get_tools()).values()
        manifest = Manifest(
            name=plugin.name,
            version=plugin.version,
            api=plugin.api,
            title=texts(type(plugin).title),
            about=texts(type(plugin).about) or (type(plugin).__doc__ or "").strip().partition("\n")[0],
            seconds=plugin.seconds,
            megabytes=plugin.megabytes,
            permissions=plugin.permissions,
            schema=config_schema(plugin),
            tools=[
                {
                    "name": t.name,
                    "description": t.description,
                    "parameters": t.parameters,
                    "writes": t.writes,
                    "repeatable": t.repeatable,
                    "title": t.title,
                    "arguments": t.arguments,
                    "seconds": t.seconds,
                }
                for t in tools
            ],
            methods=[m for m in ("handle_message", "get_menu", "on_event") if has(plugin, m)],
            digest=self._digest,
        )
        return asdict(manifest)


def _done(running: Plugins, request: Mapping[str, Any], held: _Held) -> Any:
    """What the plug-in gives to one request, as it is sent back."""
    message = message_from_json(request["message"])
    around = Around(
        language=request["around"]["language"],
        now=datetime.fromisoformat(request["around"]["now"]),
        key=request["around"]["key"],
    )
    match request["method"]:
        case "handle_message":
            reply = running.handle(message, around)
            return None if reply is None else json.loads(to_json(reply))
        case "get_menu":
            return [asdict(item) for item in running.menu(message, around)]
        case "on_event":
            running.hear(message, around)
            return None
        case "tool":
            return running.run_tool(str(request["tool"]), json.dumps(request["arguments"]), message, around)
        case method:
            raise InvalidSetting(f"there is no method {method!r}")


class _Watched(Plugins):
    """One plug-in, of which every fault is told to the other side instead of being counted here."""

    def __init__(self, plugins: Iterable[BotPlugin], held: _Held, **more: Any) -> None:
        super().__init__(plugins, **more)
        self.broken: list[str] = []
        self.fatal = False
        self._held = held

    def _entries(self, message: Message, around: Around) -> tuple[MenuItem, ...]:
        return self._held.menu()

    def _fault(self, plugin: BotPlugin, reason: str, *, weight: int = 1) -> None:
        self.broken.append(reason)
        self.fatal = self.fatal or weight >= FAULTS


class _Held:
    """What the other side has sent along; what is missing there is asked for, and the call begins anew."""

    def __init__(self, held: Sequence[Sequence[Any]]) -> None:
        self._held = [(dict(needs), value) for needs, value in held]
        self.asked: list[dict[str, Any]] = []

    def token(self, message: Message, provider: str, scopes: Sequence[str] = (), *, refused: str = "") -> str:
        """A token of the asker."""
        needs = {"what": "token", "provider": provider, "scopes": list(scopes)} | ({"refused": refused} if refused else {})
        return str(self._value(needs, provider, tuple(scopes)))

    def account(self, message: Message, provider: str) -> Any:
        """Who the asker is."""
        found = self._value({"what": "account", "provider": provider}, provider, ())
        return _Account(str(found["id"]), str(found["name"]), tuple(found["ids"]))

    def tell(self, reply: Reply, *, platform: str, user: str, conversation: str, beside: Message, key: str, attempt: int) -> None:
        """Writes to somebody, from there."""
        where = {"platform": platform, "user": user, "conversation": conversation, "about": key}
        self._value({"what": "tell", "reply": json.loads(to_json(reply)), **where}, "", ())

    def keep(self, message: Message, name: str, content: bytes) -> Attachment:
        """Keeps a file, over there."""
        needs = {"what": "attach", "name": name, "content": b64encode(content).decode()}
        return Attachment(**self._value(needs, "", ()))

    def menu(self) -> tuple[MenuItem, ...]:
        """The entries of all plug-ins there."""
        return tuple(MenuItem(**item) for item in self._value({"what": "menu"}, "", ()))

    def _value(self, needs: dict[str, Any], provider: str, scopes: tuple[str, ...]) -> Any:
        for known, value in self._held:
            if known == needs:
                return value
        self.asked.append(needs)
        raise NeedsAuthorisation(provider, scopes)


class _Account:
    """Who somebody is at a provider."""

    def __init__(self, id: str, name: str, ids: tuple[str, ...]) -> None:
        self.id = id
        self.name = name
        self.ids = ids


def host_of(folder: Path, **more: Any) -> Host:
    """The host of the plug-in in `folder`; raises InvalidSetting where there is none, or another one than the manifest is of."""
    file, manifest = folder / "plugin.py", folder / "manifest.json"
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    if manifest.is_file() and Manifest.of(json.loads(manifest.read_text(encoding="utf-8"))).digest != digest:
        raise InvalidSetting(
            f"{file} has changed since its manifest was written; read it, then run assistant plugin isolate again"
        )
    return Host(plugin_in(load_file(file)), digest=digest, **more)


# --- in a process with limits ----------------------------------------------------------------------


class _Piped:
    """The plug-in's part of the table, reached through whoever started this process."""

    def __init__(self, ask: Callable[[dict[str, Any]], Any]) -> None:
        self._ask = ask

    def get(self, pk: str, sk: str, *, consistent: bool = True) -> Item | None:
        found: Item | None = self._ask({"table": "get", "sk": sk})
        return found

    def put(self, item: Item, *, condition: str = "", values: Item | None = None) -> None:
        met = self._ask({"table": "put", "item": dict(item), "condition": condition, "values": values})
        if met is not None:
            raise Conflict("the condition does not hold", met)

    def query(self, pk: str, *, prefix: str = "", limit: int = 0) -> Sequence[Item]:
        found: Sequence[Item] = self._ask({"table": "query", "prefix": prefix, "limit": limit})
        return found

    def delete(self, pk: str, sk: str) -> None:
        self._ask({"table": "delete", "sk": sk})


def limit(megabytes: int) -> None:
    """Sets what this process may take: memory, open files, and no core file."""
    most = (BASE_MEGABYTES + megabytes) * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def serve(folder: Path, requests: TextIO, answers: TextIO) -> None:
    """Answers one request a line until there are no more."""

    def ask(question: Mapping[str, Any]) -> Any:
        print(json.dumps(question, ensure_ascii=False), file=answers, flush=True)
        told = json.loads(requests.readline())
        if "unavailable" in told:
            raise Unavailable(str(told["unavailable"]))
        return told["value"]

    made: Host | None = None
    for line in requests:
        try:
            made = made or host_of(folder, table=_Piped(ask))
            answer = made.answer(json.loads(line))
        except AssistantError as error:
            answer = {"invalid": str(error), "fault": str(error)}
        print(json.dumps(answer, ensure_ascii=False), file=answers, flush=True)


def main(argv: Sequence[str]) -> int:
    """Serves on the standard streams; whatever the plug-in prints goes to standard error."""
    limit(int(argv[1]))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers, os.fdopen(os.dup(0), encoding="utf-8") as requests:
        os.dup2(2, 1)
        os.close(os.dup2(os.open(os.devnull, os.O_RDONLY), 0))
        serve(Path(argv[0]), requests, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
