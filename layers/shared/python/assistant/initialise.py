"""What a new deployment or a new data folder needs before its first message; run again, it changes nothing that is good."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from assistant.errors import AssistantError
from assistant.platforms import PLATFORMS
from assistant.storage import Conflict

if TYPE_CHECKING:
    from assistant.assembly import Assistant


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the report."""

    name: str
    state: Literal["created", "kept", "ok", "fault"]
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """The step as JSON."""
        return asdict(self)


class InitialisationFailed(AssistantError):
    """A step is not good; the text names each one with its next step."""


def initialise(assistant: Assistant, *, progress: Callable[[Step], None] = lambda step: None) -> list[Step]:
    """Creates what is missing, then looks whether everything works. `progress` hears of each step when it is done."""
    report: list[Step] = []

    def note(step: Step) -> None:
        report.append(step)
        progress(step)

    note(_attempt("system parameters", lambda: _parameters(assistant), fix="check the role's access to the table"))
    note(_attempt("default knowledge", lambda: _knowledge(assistant), fix="check the role's access to the bucket"))
    note(_attempt("intents", lambda: _intents(assistant), fix="check the bucket, and the examples of the plug-ins"))
    for name in configured(assistant):
        note(_attempt(f"platform {name}", partial(_announced, assistant, name), fix=f"see docs/platforms/{name}.md"))
    for name, state in components(assistant).items():
        good = state == "ok"
        note(Step(name=name, state="ok" if good else "fault", detail=state, fix="" if good else f"look at the logs for {name}"))
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Something that can be mended without asking anybody: doing it twice, or needlessly, does no harm."""

    name: str
    what: str
    """What is done, in the words of a plan."""
    act: Callable[[], tuple[Literal["created", "kept"], str]]

    def apply(self) -> Step:
        """Does it."""
        return _attempt(self.name, self.act, fix="ask again; the log of this moment says more")


def remedies(assistant: Assistant) -> list[Remedy]:
    """What is missing and can be created, and what a vendor can be told again."""
    found: list[Remedy] = []
    if assistant.table.get("SYSTEM", "parameters") is None:
        what = "write the system parameters"
        found.append(Remedy(name="system parameters", what=what, act=partial(_parameters, assistant)))
    if assistant.knowledge_versions.catalogue().served is None:
        what = "publish the product's guides as the first version of the knowledge"
        found.append(Remedy(name="default knowledge", what=what, act=partial(_knowledge, assistant)))
    for name in configured(assistant):
        what = f"tell {name} again where the assistant listens: {assistant.settings.public_url}"
        found.append(Remedy(name=f"platform {name}", what=what, act=partial(_announced, assistant, name)))
    return found


def require_good(report: Sequence[Step]) -> None:
    """Raises InitialisationFailed where a step of the report is not good."""
    if bad := [s for s in report if s.state == "fault"]:
        raise InitialisationFailed("; ".join(f"{s.name}: {s.detail} → {s.fix}" for s in bad))


def _attempt(name: str, act: Callable[[], tuple[Literal["created", "kept"], str]], *, fix: str) -> Step:
    try:
        state, detail = act()
    except Exception as error:  # the report names whatever went wrong and goes on
        return Step(name=name, state="fault", detail=f"{type(error).__name__}: {error}", fix=fix)
    return Step(name=name, state=state, detail=detail)


def _parameters(assistant: Assistant) -> tuple[Literal["created", "kept"], str]:
    settings = assistant.settings
    body = json.dumps(
        {"stage": settings.stage, "tenant": settings.tenant, "timezone": settings.timezone, "model": settings.model}
    )
    try:
        assistant.table.put(
            {"pk": "SYSTEM", "sk": "parameters", "body": body, "made": int(assistant.clock())},
            condition="attribute_not_exists(#pk)",
        )
    except Conflict as met:
        made = time.strftime("%Y-%m-%d", time.gmtime(float(met.item.get("made") or 0)))
        return "kept", f"stage {settings.stage}, made on {made}"
    return "created", f"stage {settings.stage}"


def _knowledge(assistant: Assistant) -> tuple[Literal["created", "kept"], str]:
    """Publishes the product's own guides as the first version, where none is published yet."""
    versions = assistant.knowledge_versions
    if served := versions.catalogue().served:
        return "kept", f"version {served.name}"
    from assistant.knowledge.default import default_knowledge

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "default.sqlite"
        documents = default_knowledge(path)
        with versions.edit(author="init", note="the product's own guides", start=path):
            pass
    return "created", f"{documents} guides"


def _intents(assistant: Assistant) -> tuple[Literal["created", "kept"], str]:
    """Learns what tells the plug-ins' intents apart, where it was not learned before from the same examples."""
    done = assistant.learn()
    return ("created" if done.made else "kept"), f"{done.intents} intents, {done.kilobytes} KiB, {done.seconds:.1f} s"


def configured(assistant: Assistant) -> list[str]:
    """Platforms with a secret, apart from the web chat, where the assistant can be reached from outside."""
    if not assistant.settings.public_url.startswith("https://"):
        return []
    return [name for name in PLATFORMS if name != "webchat" and assistant.secrets.get(name)]


def _announced(assistant: Assistant, name: str) -> tuple[Literal["created", "kept"], str]:
    platform, language = assistant.platform(name), assistant.settings.language
    done = [
        platform.announce(assistant.settings.public_url),
        platform.show_menu(_menu(assistant, name, language), language=language),
    ]
    text = "; ".join(filter(None, done))
    return ("created", text) if text else ("kept", "nothing to register")


def _menu(assistant: Assistant, name: str, language: str) -> list[tuple[str, str]]:
    """What the plug-ins offer to everybody on the platform: title and key."""
    from assistant.messages import Message
    from assistant.plugins import Around

    now = datetime.fromtimestamp(assistant.clock(), ZoneInfo(assistant.settings.timezone))
    nobody = Message(kind="menu", platform=name, channel="", conversation="", sender="", dedup_id="menu")
    items = assistant.plugins.menu(nobody, Around(language=language, now=now, key="menu"))
    return [(item.title, item.key or item.text) for item in items]


def components(assistant: Assistant) -> dict[str, str]:
    """State of each part that the assistant cannot work without; nothing here costs more than a small read."""
    checks: dict[str, Callable[[], Any]] = {
        "table": lambda: assistant.table.get("SYSTEM", "parameters", consistent=False),
        "queue": lambda: assistant.client("sqs").get_queue_attributes(
            QueueUrl=assistant.settings.turns_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        ),
        "secrets": lambda: assistant.secrets.get("webchat"),
    }
    states = {}
    for name, check in checks.items():
        try:
            check()
            states[name] = "ok"
        except AssistantError:
            states[name] = "unavailable"
        except Exception as error:  # health tells, whatever a client library raises
            states[name] = type(error).__name__
    return states
