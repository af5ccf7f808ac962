"""What the doctor looks at in WeCom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from assistant.errors import MissingPermission, OutcomeUnknown, RateLimited, SendError, VendorUnavailable, VerificationError
from assistant.messages import Webhook
from assistant.platforms import Finding, Told, outbound
from assistant.platforms.clock import compared
from assistant.platforms.crypto import key_from_text, seal_envelope, sorted_sha1
from assistant.platforms.wecom_api import CONSOLE, VISIBILITY
from assistant.platforms.wire import Object

if TYPE_CHECKING:
    from assistant.platforms.wecom import WeCom

LARGEST_SKEW = 300
"""Seconds between WeCom's clock and ours from which on its callbacks are refused."""


def diagnose(wecom: WeCom) -> list[Finding]:
    """Both surfaces: what is configured, whether the API takes it, who can see the app, which address we call from."""
    return [*_bot(wecom), *_app(wecom)]


def _bot(wecom: WeCom) -> list[Finding]:
    needed = ("bot_id", "bot_token", "bot_aes_key")
    if not any(wecom.secrets.get(n) for n in needed):
        return [Finding(check="bot", state="unknown", detail="no AI bot is configured; there are no group chats without one")]
    findings = [_configured("bot", wecom.secrets, needed, page="智能机器人 › API模式 (AI bot, API mode)")]
    findings.append(_round_trip(wecom, "bot"))
    if not wecom.secrets.get("bot_name"):
        findings.append(
            Finding(
                check="bot name",
                state="warning",
                detail="'bot_name' is not set: in groups the question keeps the bot's mention",
                fix="store the bot's name, as members see it, in secret field 'bot_name'",
            )
        )
    return findings


def _round_trip(wecom: WeCom, channel: str) -> Finding:
    """Seals a request as WeCom would and opens it again."""
    check = Told("{channel} callback key", channel=Told(channel))
    stamp = str(int(wecom.clock()))
    try:
        key = key_from_text(wecom.secret(f"{channel}_aes_key"), field=f"{channel}_aes_key")
        receiver = wecom.secrets.get("bot_receive_id", "") if channel == "bot" else wecom.app_receiver()
        sealed = seal_envelope(b"doctor", key=key, receive_id=receiver)
        signature = sorted_sha1(wecom.secret(f"{channel}_token"), stamp, "doctor", sealed)
        query = {"msg_signature": signature, "timestamp": stamp, "nonce": "doctor", "echostr": sealed}
        wecom.receive(Webhook(platform=wecom.name, channel=channel, method="GET", query=query))
    except VerificationError as error:
        return Finding(
            check=check, state="fault", detail=Told.reason(error), fix="copy Token and EncodingAESKey again", url=CONSOLE
        )
    return Finding(check=check, state="ok", detail="a request sealed with it is opened again")


def _app(wecom: WeCom) -> list[Finding]:
    needed = ("corp_id", "agent_id", "secret")
    if not any(wecom.secrets.get(n) for n in ("agent_id", "secret", "app_token")):
        return [Finding(check="app", state="unknown", detail="no app is configured: no notices, no files, no late answers")]
    findings = [_configured("app", wecom.secrets, needed, page="应用管理 › 自建 (App management)")]
    if any(wecom.secrets.get(n) for n in ("app_token", "app_aes_key")):
        findings.append(_round_trip(wecom, "app"))
    if findings[0].state == "fault":
        return findings
    try:
        wecom.api.forget_token()
        wecom.api.token()
    except SendError as error:
        return [*findings, _failed("credentials", error)]
    findings.append(Finding(check="credentials", state="ok", detail="WeCom gave a token for corp_id and secret"))
    findings.append(_clock(wecom))
    try:
        agent = wecom.api.call("GET", "/agent/get", repeat=True, params={"agentid": str(wecom.api.agent_id())})
    except SendError as error:
        check = "trusted IP" if error.code == "60020" else "app"
        return [*findings, _failed(check, error)]
    findings.append(Finding(check="trusted IP", state="ok", detail="WeCom takes calls from this machine's address"))
    findings += _agent_findings(agent)
    try:
        found = wecom.api.call("GET", "/getcallbackip", repeat=True).get("ip_list")
    except SendError as error:
        return [*findings, _failed("callback addresses", error)]
    count = len(found) if isinstance(found, list) else 0
    findings.append(
        Finding(
            check="callback addresses",
            state="ok" if count else "unknown",
            detail=Told("callbacks come from {count} addresses", count=count),
        )
    )
    return findings


def _clock(wecom: WeCom) -> Finding:
    try:
        response = outbound.call(wecom.name, "GET", f"{wecom.api.base}/cgi-bin/gettoken")
    except SendError as error:
        return Finding(check="clock", state="unknown", detail=Told.reason(error))
    return compared(response.headers, now=wecom.clock(), vendor="WeCom", harms=LARGEST_SKEW)


def _configured(check: str, secrets: Mapping[str, str], needed: tuple[str, ...], *, page: str) -> Finding:
    check = Told("{what} settings", what=Told(check))
    if missing := [n for n in needed if not secrets.get(n)]:
        return Finding(
            check=check,
            state="fault",
            detail=Told("not set: {fields}", fields=", ".join(missing)),
            fix=Told("copy them from {page} into the secret of wecom", page=page),
            url=CONSOLE,
        )
    return Finding(check=check, state="ok", detail="complete")


def _failed(check: str, error: SendError) -> Finding:
    fix = "try again later" if isinstance(error, VendorUnavailable | RateLimited | OutcomeUnknown) else "compare with the console"
    if isinstance(error, MissingPermission):
        fix = Told("open the app in the console and extend {scope}", scope=Told(error.scopes[0]))
    return Finding(check=check, state="fault", detail=Told.reason(error), fix=fix, url=CONSOLE)


def _size(agent: Object, field: str, name: str) -> int:
    holder = agent.get(field)
    found = holder.get(name) if isinstance(holder, dict) else None
    return len(found) if isinstance(found, list) else 0


def _agent_findings(agent: Object) -> list[Finding]:
    name = str(agent.get("name") or "?")
    findings = []
    if agent.get("close"):
        findings.append(
            Finding(
                check="app",
                state="fault",
                detail=Told("{name} is switched off", name=name),
                fix="启用应用 (enable it)",
                url=CONSOLE,
            )
        )
    else:
        findings.append(Finding(check="app", state="ok", detail=name))
    count = _size(agent, "allow_userinfos", "user")
    wide = _size(agent, "allow_partys", "partyid") + _size(agent, "allow_tags", "tagid")
    if count or wide:
        detail = Told("{count} members by name, {wide} departments and tags", count=count, wide=wide)
        findings.append(Finding(check="visibility", state="ok", detail=detail))
    else:
        fix = Told("add members or departments under {page}", page=Told(VISIBILITY))
        findings.append(Finding(check="visibility", state="fault", detail="nobody can see the app", fix=fix, url=CONSOLE))
    if domain := agent.get("redirect_domain"):
        findings.append(Finding(check="trusted domain", state="ok", detail=str(domain)))
    else:
        findings.append(
            Finding(
                check="trusted domain",
                state="warning",
                detail="none: members cannot be identified in a browser",
                fix="可信域名 (trusted domain): enter the host of the public address",
                url=CONSOLE,
            )
        )
    return findings
