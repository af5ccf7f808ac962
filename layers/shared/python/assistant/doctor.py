"""What stands in the way of a working assistant: one line a check, each with its exact fix.

What is safe is mended on request: whatever only creates what is missing, or tells a vendor again what it should know. The same
report is a command (`assistant doctor`), a route (`GET /api/doctor`) and a chat command for administrators.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from assistant import checkup
from assistant.checks import house
from assistant.errors import AssistantError
from assistant.platforms import PLATFORMS, Finding, Platform, Told
from assistant.storage import key
from assistant.words import nearest

if TYPE_CHECKING:
    from assistant.assembly import Assistant
    from assistant.messages import JSON
    from assistant.storage import Item, Table

ORDER: Final = ("fault", "warning", "unknown", "ok")
QUIET: Final = 7 * 24 * 3600
"""Seconds without a message after which a platform is suspected to be cut off."""

Way = Literal["in", "out", "refused"]


class Line(NamedTuple):
    """A finding and the part of the assistant it is about: a platform's name, or `assistant`."""

    component: str
    finding: Finding


class Seen:
    """When each platform was last heard, answered, and when it last refused us. One small write in `every` seconds at most."""

    def __init__(self, table: Table, *, clock: Callable[[], float], every: float = 300) -> None:
        self._table = table
        self._clock = clock
        self._every = every
        self._noted: dict[tuple[str, str], float] = {}

    def note(self, platform: str, *ways: Way, detail: str = "") -> None:
        """Remembers that it happened now, unless it did within the last `every` seconds. Raises nothing: it is a side note."""
        now = self._clock()
        due = [w for w in ways if now - self._noted.get((platform, w), 0) >= self._every]
        if not due:
            return
        changes: dict[str, int | str] = {f"at_{way}": int(now) for way in due}
        if "refused" in due:
            changes["detail"] = detail[:500]
        try:
            self._table.update(*_seen_key(platform), changes)
        except AssistantError:
            return  # the next message notes it
        self._noted.update({(platform, way): now for way in due})

    def of(self, platform: str) -> Item:
        """What is known about the platform: `at_in`, `at_out`, `at_refused` in Unix seconds, `detail` of the last refusal."""
        return self._table.get(*_seen_key(platform), consistent=False) or {}


def _seen_key(platform: str) -> tuple[str, str]:
    return key("H", platform), "seen"


# --- the report --------------------------------------------------------------------------------


def report(assistant: Assistant) -> list[Line]:
    """Everything that can be looked at from where this runs, worst first within each component."""
    lines = [Line("assistant", f) for f in house(assistant)]
    lines += [Line("assistant", f) for f in (*checkup.plugins(assistant), *checkup.authorisation(assistant))]
    seen = Seen(assistant.table, clock=assistant.clock)
    lines += platforms(
        assistant.platform,
        configured={name for name in PLATFORMS if _secret(assistant, name)},
        public_url=assistant.settings.public_url,
        clock=assistant.clock,
        seen=seen.of,
    )
    return _sorted(lines)


def platforms(
    open_platform: Callable[[str], Platform],
    *,
    configured: Iterable[str],
    public_url: str = "",
    clock: Callable[[], float],
    seen: Callable[[str], Item] | None = None,
) -> list[Line]:
    """The platforms' part: each configured one asked at the same time, the others named as not connected."""
    given = set(configured)

    def one(name: str) -> list[Line]:
        if name not in given:
            fix = Told("{page} shows what to click; store the secret, then ask again", page=f"docs/platforms/{name}.md")
            return [Line(name, Finding(check="connected", state="unknown", detail="not connected", fix=fix))]
        findings: list[Finding] = []
        try:
            platform = open_platform(name)
            findings += platform.diagnose()
            findings += _reachable(platform, public_url)
            if seen and name != "webchat":  # nobody has to set up anything for it
                findings += _last_seen(name, seen(name), clock())
        except AssistantError as error:
            findings.append(
                Finding(check="diagnosis", state="fault", detail=Told.reason(error), fix="see the log of this moment")
            )
        return [Line(name, f) for f in findings]

    names = [n for n in PLATFORMS if n in given] + [n for n in PLATFORMS if n not in given]
    with ThreadPoolExecutor(max_workers=len(PLATFORMS)) as pool:
        return _sorted([line for lines in pool.map(one, names) for line in lines])


def state(lines: Sequence[Line]) -> Literal["ok", "warning", "fault"]:
    """The whole in one word; what is only unknown counts as ok."""
    found = {line.finding.state for line in lines}
    return "fault" if "fault" in found else "warning" if "warning" in found else "ok"


def worded(finding: Finding, language: str) -> Finding:
    """The finding in the reader's language; names, addresses and what a vendor said stay as they are."""
    if nearest(language) == "en":
        return finding
    check, detail, fix = (_said(text, nearest(language)) for text in (finding.check, finding.detail, finding.fix))
    return Finding(check=check, state=finding.state, detail=detail, fix=fix, url=finding.url)


def _said(text: str, language: str) -> str:
    key, values = (text.key, text.values) if isinstance(text, Told) else (text, {})
    sentence = sentences(language).get(key)
    if sentence is None:
        return str(text)  # a name, an address, somebody else's words
    return (
        sentence.format(**{n: _said(v, language) if isinstance(v, Told) else v for n, v in values.items()})
        if values
        else sentence
    )


@functools.cache
def sentences(language: str) -> Mapping[str, str]:
    """What the findings say in `language`, by the English sentence with its gaps."""
    found: dict[str, dict[str, str]] = json.loads((files("assistant") / "locales" / "findings.json").read_text("utf-8"))
    return found[language]


def to_json(lines: Sequence[Line], *, language: str = "en") -> dict[str, JSON]:
    """The report as `GET /api/doctor` and `--json` give it.

    `check` is the same in all languages; `title`, `detail` and `fix` are in `language`.
    """
    found: list[JSON] = []
    for component, finding in lines:
        said = worded(finding, language)
        words: dict[str, JSON] = {"title": said.check, "detail": said.detail, "fix": said.fix}
        found.append({"component": component, "check": finding.check, "state": finding.state, **words, "url": finding.url})
    return {"state": state(lines), "findings": found}


def from_json(data: Mapping[str, Any]) -> list[Line]:
    """The report in what `to_json` wrote, in the language it was written in; raises ValueError for anything else."""
    try:
        return [
            Line(
                str(f["component"]),
                Finding(
                    check=f.get("title") or f["check"],
                    state=f["state"],
                    detail=f["detail"],
                    fix=f.get("fix", ""),
                    url=f.get("url", ""),
                ),
            )
            for f in data["findings"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError("not a report of the doctor") from error


_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "ok": "fine",
        "warning": "warning",
        "fault": "fault",
        "unknown": "not known",
        "all": "Everything is fine.",
        "fix": "Fix",
    },
    "zh-CN": {"ok": "正常", "warning": "警告", "fault": "故障", "unknown": "未知", "all": "一切正常。", "fix": "处理办法"},
}
_SIGNS: Final = {"ok": "✅", "warning": "⚠️", "fault": "❌", "unknown": "➖"}


def to_markdown(lines: Sequence[Line], *, language: str = "en") -> str:
    """The report for a chat: a line a component, and everything that needs a hand in full."""
    words = _WORDS["zh-CN" if language.startswith("zh") else "en"]
    parts = []
    for component in dict.fromkeys(line.component for line in lines):
        found = [worded(f, language) for c, f in lines if c == component]
        worst = min((f.state for f in found), key=ORDER.index)
        parts.append(f"{_SIGNS[worst]} **{component}** — {words[worst]}")
        for f in found:
            if f.state in ("fault", "warning"):
                link = f" ({f.url})" if f.url else ""
                parts.append(
                    f"- {_SIGNS[f.state]} {f.check}: {f.detail}" + (f"  \n  {words['fix']}: {f.fix}{link}" if f.fix else "")
                )
    if state(lines) == "ok":
        parts.append(words["all"])
    return "\n".join(parts)


# --- single checks -----------------------------------------------------------------------------


def _secret(assistant: Assistant, name: str) -> Mapping[str, str]:
    try:
        return assistant.secrets.get(name)
    except AssistantError:
        return {"unreadable": name}  # configured, and the platform's own check says what is wrong


_LOCAL: Final = re.compile(r"https?://(127\.|localhost|0\.0\.0\.0|\[::1?\]|10\.|192\.168\.)")


def _reachable(platform: Platform, public_url: str) -> list[Finding]:
    """Whether the callback addresses answer, and refuse what is not signed."""
    from assistant.platforms import outbound

    check = "callback address"
    if platform.name == "webchat":
        return []
    if not public_url:
        fix = "set public_url, or give it with --public-url"
        return [Finding(check=check, state="unknown", detail="no public address is set", fix=fix)]
    if _LOCAL.match(public_url):
        detail = Told("{url} cannot be reached from {name}", url=public_url, name=platform.name)
        fix = "deploy, or set public_url to the HTTPS address of a tunnel to this machine"
        return [Finding(check=check, state="warning", detail=detail, fix=fix)]
    findings = []
    for channel in platform.channels:
        url = f"{public_url.rstrip('/')}/webhook/{platform.name}/{channel}"
        try:
            status = outbound.call(
                platform.name, "POST", url, content=b"{}", headers={"content-type": "application/json"}
            ).status_code
        except AssistantError as error:
            fix = "check public_url, the DNS name and the certificate"
            findings.append(
                Finding(check=check, state="fault", detail=Told("{url}: {reason}", url=url, reason=Told.reason(error)), fix=fix)
            )
            continue
        findings.append(_judged(check, url, status))
    return findings


def _judged(check: str, url: str, status: int) -> Finding:
    if status == 401:
        state: Literal["ok", "warning"] = "ok" if url.startswith("https:") else "warning"
        fix = "" if state == "ok" else "platforms call HTTPS addresses only"
        return Finding(check=check, state=state, detail=Told("{url} answers, and refuses what is not signed", url=url), fix=fix)
    if 200 <= status < 300:
        fix = "something else answers there: check public_url"
        return Finding(check=check, state="fault", detail=Told("{url} accepted an unsigned request", url=url), fix=fix)
    fix = "allow the path in the firewall" if status == 403 else "check public_url and the routes of the deployment"
    return Finding(check=check, state="fault", detail=Told("{url} answered {status}", url=url, status=status), fix=fix)


def _last_seen(name: str, seen: Item, now: float) -> list[Finding]:
    heard, answered, refused = (int(seen.get(f"at_{way}") or 0) for way in ("in", "out", "refused"))
    if not heard:
        fix: str = Told(
            "write to the bot once; if nothing comes, its events are not subscribed: {page}", page=f"docs/platforms/{name}.md"
        )
        findings = [Finding(check="last message in", state="unknown", detail="never", fix=fix)]
    else:
        quiet = now - heard > QUIET
        findings = [
            Finding(
                check="last message in",
                state="warning" if quiet else "ok",
                detail=_ago(now - heard),
                fix="write to the bot; if nothing comes, look at the event subscription" if quiet else "",
            )
        ]
    if answered:
        findings.append(Finding(check="last message out", state="ok", detail=_ago(now - answered)))
    if refused and refused >= answered:
        why = str(seen.get("detail") or "") or Told("no reason given")
        detail = Told("{when}: {reason}", when=_ago(now - refused), reason=why)
        fix = "the reason names it; the other checks show whether it still holds"
        findings.append(Finding(check="last refusal", state="warning", detail=detail, fix=fix))
    return findings


def _ago(seconds: float) -> Told:
    for size, said in ((86400, "{count} days ago"), (3600, "{count} hours ago"), (60, "{count} minutes ago")):
        if seconds >= 2 * size:
            return Told(said, count=int(seconds / size))
    return Told("{count} seconds ago", count=max(0, int(seconds)))


def _sorted(lines: Iterable[Line]) -> list[Line]:
    found = list(lines)
    components = list(dict.fromkeys(line.component for line in found))
    return sorted(found, key=lambda line: (components.index(line.component), ORDER.index(line.finding.state)))
