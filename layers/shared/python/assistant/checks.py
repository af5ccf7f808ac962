"""The doctor's look at our own house: each part asked at the same time, none for longer than `SECONDS`."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from assistant.errors import AssistantError
from assistant.llm import ChatMessage, ChatModel, ChatRequest, Done, WarmingUp
from assistant.notices import administrators
from assistant.platforms import PLATFORMS, Finding, Told
from assistant.queue import waiting
from assistant.settings import LOOK_SECONDS

if TYPE_CHECKING:
    from assistant.assembly import Assistant

SECONDS: Final = 12.0
"""Longest time one check may take: the HTTP API gives a request 29 s."""
EXPIRES_SOON: Final = 14
"""Days before a certificate's end from which on it is a warning."""
WORST_CLOCK: Final = 60.0
"""Seconds between our clock and AWS's from which on signatures begin to be refused."""
SHORTEST_KEY: Final = 16

Check = Callable[["Assistant"], list[Finding]]


def house(assistant: Assistant) -> list[Finding]:
    """What was found in each part."""
    checks: Sequence[tuple[str, Check]] = (
        ("table", _table),
        ("queue", _queues),
        ("clock", _clock),
        ("secrets", _secrets),
        ("model", _model),
        ("knowledge", _knowledge),
        ("certificate", _certificate),
        ("alarms", _alarms),
        ("roll-out", _rollout),
        ("administrators", _administrators),
    )
    pool = ThreadPoolExecutor(max_workers=len(checks), thread_name_prefix="doctor")
    try:
        running = [(name, pool.submit(_one, name, check, assistant)) for name, check in checks]
        until = time.monotonic() + SECONDS
        found: list[Finding] = []
        for name, future in running:
            try:
                found += future.result(timeout=max(0.05, until - time.monotonic()))
            except TimeoutError:
                fix = "ask again; where it stays so, look at this part's own health"
                found.append(
                    Finding(
                        check=name, state="fault", detail=Told("no answer within {seconds} s", seconds=f"{SECONDS:g}"), fix=fix
                    )
                )
        return found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one(name: str, check: Check, assistant: Assistant) -> list[Finding]:
    try:
        return check(assistant)
    except Exception as error:  # the doctor's door: whatever a client raises is what was found
        detail = Told.reason(error) if isinstance(error, AssistantError) else f"{type(error).__name__}: {error}"[:500]
        return [Finding(check=name, state="fault", detail=detail, fix="does it exist, and may this function reach it?")]


# --- single checks -----------------------------------------------------------------------------


def _table(assistant: Assistant) -> list[Finding]:
    item = assistant.table.get("SYSTEM", "parameters", consistent=False)
    found = [Finding(check="table", state="ok", detail=assistant.settings.table_name)]
    if item is None:
        fix = "run: assistant init, or assistant doctor --fix"
        found.append(Finding(check="first data", state="warning", detail="the system parameters are missing", fix=fix))
    return found


def _queues(assistant: Assistant) -> list[Finding]:
    found = []
    for check, url in (("queue", assistant.settings.turns_queue_url), ("dead letters", assistant.settings.dead_letters_url)):
        if not url:
            continue
        count = waiting(url, client=assistant.client("sqs"))
        bad = check == "dead letters" and count
        fix = "look at them with `assistant dlq list`, repair, then `assistant dlq replay`" if bad else ""
        found.append(
            Finding(check=check, state="warning" if bad else "ok", detail=Told("{count} messages wait", count=count), fix=fix)
        )
    return found


def _clock(assistant: Assistant) -> list[Finding]:
    """Our clock against that of AWS, by the date in an answer's headers."""
    client, url = assistant.client("sqs"), assistant.settings.turns_queue_url
    before = assistant.clock()
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    after = assistant.clock()
    date = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders", {}).get("date", "")
    if not date:
        return [Finding(check="clock", state="unknown", detail="AWS's answer bears no date")]
    theirs = parsedate_to_datetime(date).timestamp()
    off = before - theirs if theirs < before else min(0.0, after - theirs)
    if abs(off) <= WORST_CLOCK:
        return [Finding(check="clock", state="ok", detail=Told("within {seconds} s of AWS's", seconds=max(1, round(abs(off)))))]
    fix = "set the clock of this machine (NTP): vendors and AWS refuse signatures of another time"
    detail = Told("{seconds} s ahead of AWS's" if off > 0 else "{seconds} s behind AWS's", seconds=f"{abs(off):.0f}")
    return [Finding(check="clock", state="fault", detail=detail, fix=fix)]


def _secrets(assistant: Assistant) -> list[Finding]:
    configured = [name for name in PLATFORMS if assistant.secrets.get(name)]
    key = assistant.secrets.get("webchat").get("api_key", "")
    place = f"{assistant.settings.secrets_prefix}/webchat"
    detail = Told("readable; platforms: {names}", names=", ".join(configured)) if configured else "readable; no platform"
    found = [Finding(check="secrets", state="ok", detail=detail)]
    if not key:
        fix = Told("store a long random text as api_key in secret {place}: nobody can sign in without it", place=place)
        found.append(Finding(check="web chat's key", state="warning", detail="there is none", fix=fix))
    elif len(key) < SHORTEST_KEY:
        fix = Told(
            "store a random text of at least {count} characters as api_key in secret {place}", count=SHORTEST_KEY, place=place
        )
        found.append(
            Finding(
                check="web chat's key", state="warning", detail=Told("it has only {count} characters", count=len(key)), fix=fix
            )
        )
    return found


def _model(assistant: Assistant) -> list[Finding]:
    """One word from each configured model; where there are several, one that is down is a warning: the next one answers."""
    from assistant.llm.models import parse_spec

    specs = [s.strip() for s in assistant.settings.model.split(",")]
    parse_spec(assistant.settings.model)
    if specs == ["builtin"]:
        return [Finding(check="model", state="ok", detail="the built-in engine, which needs no model")]
    if len(specs) == 1:
        return [_asked(assistant.model, specs[0], alone=True)]
    with ThreadPoolExecutor(max_workers=len(specs)) as pool:
        found = list(pool.map(lambda s: _asked(assistant.model_of(s), s, alone=False), specs))
    if all(f.state == "warning" for f in found):
        return [Finding(check=f.check, state="fault", detail=f.detail, fix=f.fix) for f in found]
    return found


def _asked(model: ChatModel, spec: str, *, alone: bool) -> Finding:
    check = Told("model {name}", name=spec.rpartition("@")[0] or spec)
    request = ChatRequest(
        system="You answer with one word.",
        messages=(ChatMessage(role="user", text="Say: yes"),),
        max_tokens=16,
        seconds=SECONDS - 2,
    )
    began = time.perf_counter()
    try:
        done = next((e for e in model.stream(request) if isinstance(e, Done)), None)
    except WarmingUp as error:
        fix = "it starts by itself with the first question; ask again in some minutes"
        return Finding(check=check, state="warning", detail=Told.reason(error), fix=fix)
    except AssistantError as error:
        fix = "check the endpoint, its key (secret `model`) and its quota: assistant model check SPEC"
        return Finding(check=check, state="fault" if alone else "warning", detail=Told.reason(error), fix=fix)
    took = time.perf_counter() - began
    if done is None:
        fix = "look at the endpoint's own log"
        return Finding(check=check, state="fault" if alone else "warning", detail="it ended without a word", fix=fix)
    return Finding(check=check, state="ok", detail=Told("answers in {seconds} s", seconds=f"{took:.1f}"))


def _knowledge(assistant: Assistant) -> list[Finding]:
    catalogue = assistant.knowledge_versions.catalogue()
    served = catalogue.served
    if served is None:
        fix = "add documents: assistant kb add FILE …, or publish the guides: assistant doctor --fix"
        return [
            Finding(check="knowledge", state="warning", detail="no version is published; the product's guides answer", fix=fix)
        ]
    assistant.knowledge.search("health", audience=frozenset({"everyone"}), limit=1)  # opens the very file that turns read
    made = datetime.fromtimestamp(served.published, UTC)
    detail = Told(
        "version {name} of {made}: {documents} documents, {passages} passages",
        name=served.name,
        made=f"{made:%Y-%m-%d %H:%M} UTC",
        documents=served.documents,
        passages=served.passages,
    )
    return [Finding(check="knowledge", state="ok", detail=detail)]


def _certificate(assistant: Assistant) -> list[Finding]:
    """The certificate at the public address, as a platform meets it."""
    url = assistant.settings.public_url
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        detail = Told("{url}: no HTTPS, so there is no certificate", url=url or Told("no public address"))
        return [Finding(check="certificate", state="unknown", detail=detail)]
    return [certificate(parts.hostname, parts.port or 443, now=assistant.clock())]


def certificate(host: str, port: int = 443, *, now: float, trusted: ssl.SSLContext | None = None) -> Finding:
    """How long the certificate of `host` is good, and whether a platform would trust it."""
    context = trusted or ssl.create_default_context()
    fix = "renew it in AWS Certificate Manager, or at whoever ends TLS for this name"
    try:
        with socket.create_connection((host, port), timeout=5) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
            found = tls.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Finding(
            check="certificate",
            state="fault",
            detail=Told("the certificate of {host} is not trusted: {reason}", host=host, reason=error.verify_message),
            fix=fix,
        )
    except OSError as error:
        detail = Told("{host} cannot be reached: {reason}", host=f"{host}:{port}", reason=type(error).__name__)
        return Finding(check="certificate", state="fault", detail=detail, fix="check public_url and the DNS name")
    ends = ssl.cert_time_to_seconds(str(found["notAfter"]))
    days = (ends - now) / 86400
    until = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d}"
    detail = Told("{host}: good until {until}, {days} days", host=host, until=until, days=f"{days:.0f}")
    if days < EXPIRES_SOON:
        return Finding(check="certificate", state="fault" if days <= 0 else "warning", detail=detail, fix=fix)
    return Finding(check="certificate", state="ok", detail=detail)


def _alarms(assistant: Assistant) -> list[Finding]:
    settings = assistant.settings
    if settings.figures != "cloudwatch":
        return [Finding(check="alarms", state="unknown", detail="none on a local run; a deployment has them in CloudWatch")]
    ringing, blind, all_of_them = [], [], 0
    for name, state, reason in _described(assistant, f"assistant-{settings.stage}-"):
        all_of_them += 1
        ringing += [(name, reason)] if state == "ALARM" else []
        blind += [name] if state == "INSUFFICIENT_DATA" else []
    short = len(f"assistant-{settings.stage}-")
    found = [
        Finding(
            check=Told("alarm {name}", name=name[short:]),
            state="fault",
            detail=reason[:300] or "it rings",
            fix=Told("{place} says what it means and what to do", place=f"docs/operations.md#{name[short:]}"),
        )
        for name, reason in ringing
    ]
    if not all_of_them:
        fix = "deploy the observability stack: nobody is told when something breaks"
        return [Finding(check="alarms", state="warning", detail="there are none", fix=fix)]
    said = "{count} alarms, {blind} without data yet; none rings" if blind else "{count} alarms; none rings"
    return found or [Finding(check="alarms", state="ok", detail=Told(said, count=all_of_them, blind=len(blind)))]


def _described(assistant: Assistant, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Name, state and reason of each alarm."""
    request = {"AlarmNamePrefix": prefix, "AlarmTypes": ["MetricAlarm"], "MaxRecords": 100}
    while True:
        page = assistant.client("cloudwatch").describe_alarms(**request)
        for alarm in page.get("MetricAlarms", ()):
            yield alarm["AlarmName"], alarm["StateValue"], alarm.get("StateReason", "")
        if not page.get("NextToken"):
            return
        request["NextToken"] = page["NextToken"]


def _rollout(assistant: Assistant) -> list[Finding]:
    state = assistant.rollouts.read()
    off = [r.name for r in state.rings if not r.on]
    said = "reached: {ring}; off: {off}" if off else "reached: {ring}"
    detail = Told(said, ring=state.reached, off=", ".join(off))
    if state.halted:
        fix = "see `assistant rollout history`; go on with `assistant rollout set --resume`"
        return [Finding(check="roll-out", state="warning", detail=Told("{state}; halted", state=detail), fix=fix)]
    if state.plan:
        looked = int(assistant.rollouts.journal.noted().get("at") or 0)
        quiet = assistant.clock() - max(looked, state.plan.since)
        if quiet > 3 * LOOK_SECONDS:
            fix = "look at the init function's schedule (rule RolloutLook) and its log; on a local run, restart it"
            detail = Told("a plan is running and was not looked at for {minutes} minutes", minutes=f"{quiet / 60:.0f}")
            return [Finding(check="roll-out", state="fault", detail=detail, fix=fix)]
    return [Finding(check="roll-out", state="ok", detail=detail)]


def _administrators(assistant: Assistant) -> list[Finding]:
    people = administrators(assistant.settings.administrators)
    if not people:
        fix = "set `administrators`, as slack:U123: they are told what only they can mend"
        return [Finding(check="administrators", state="warning", detail="nobody is named", fix=fix)]
    missing = sorted({platform for platform, _ in people if not assistant.secrets.get(platform)})
    if missing:
        fix = Told("connect {name}, or name somebody where the assistant is connected", name=missing[0])
        detail = Told("{name} is not connected, so its administrators hear nothing", name=missing[0])
        return [Finding(check="administrators", state="warning", detail=detail, fix=fix)]
    return [
        Finding(check="administrators", state="ok", detail=Told("{count} are told what only they can mend", count=len(people)))
    ]
