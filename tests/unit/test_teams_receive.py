"""Teams' webhooks: seven checks of the token, what becomes a message, what is answered at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from botframework.connector.auth import ChannelValidation, JwtTokenExtractor, SimpleCredentialProvider
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import Refused, Unavailable, VerificationError
from assistant.messages import Message, Received, Webhook
from assistant.platforms.teams import Teams
from assistant.platforms.teams_events import readable
from assistant.platforms.teams_token import Keys
from tests.simulators.teams import APP, BOT, KID, TeamsSimulator

NOW = int(time.time())


@pytest.fixture(scope="module")
def vendor() -> Iterator[TeamsSimulator]:
    with TeamsSimulator(clock=lambda: float(NOW)) as simulator:
        simulator.keys.append(simulator.published("for-webchat", endorsements=("webchat",)))
        simulator.keys.append(simulator.published("for-nobody", endorsements=()))
        simulator.keys.append({"kid": "elliptic", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})
        yield simulator


@pytest.fixture(scope="module")
def teams(vendor: TeamsSimulator) -> Teams:
    return Teams(vendor.secrets, clock=lambda: float(NOW))


@pytest.fixture(scope="module")
def good_token(vendor: TeamsSimulator) -> str:
    return vendor.token()


# --- proof ---


@pytest.mark.parametrize(
    "broken",
    [
        {"iss": "https://sts.windows.net/tid/"},
        {"iss": None},
        {"aud": "another-app"},
        {"aud": [APP]},
        {"aud": None},
        {"exp": NOW - 300},
        {"exp": None},
        {"nbf": NOW + 301},
        {"nbf": "now"},
        {"serviceurl": None},
        {"serviceurl": "https://evil.example/"},
        {"serviceurl": 7},
        {"key": "mallory"},
        {"kid": "for-webchat"},
        {"kid": "for-nobody"},
        {"kid": "unknown"},
        {"kid": "elliptic"},
    ],
)
def test_a_token_that_fails_one_check_is_refused(vendor: TeamsSimulator, teams: Teams, broken: dict[str, Any]) -> None:
    activity = vendor.activity("a:1", "Hi")
    assert teams.receive(vendor.webhook(activity)).messages
    with pytest.raises(VerificationError):
        teams.receive(vendor.webhook(activity, token=vendor.token(**broken)))


@pytest.mark.parametrize("times", [{"exp": NOW - 299}, {"nbf": NOW + 300}, {"nbf": None}])
def test_clocks_may_differ_by_five_minutes(vendor: TeamsSimulator, teams: Teams, times: dict[str, Any]) -> None:
    assert teams.receive(vendor.webhook(vendor.activity("a:1", "Hi"), token=vendor.token(**times))).messages


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer a.b.c",
        "Bearer é\ud800",
        "{good}",
        "Bearer {good}, Bearer {good}",
        "Bearer {good}x",
    ],
)
def test_a_header_without_one_token_is_refused(vendor: TeamsSimulator, teams: Teams, header: str) -> None:
    webhook = vendor.webhook(vendor.activity("a:1", "Hi"))
    headers = {**webhook.headers, "authorization": header.replace("{good}", vendor.token())}
    with pytest.raises(VerificationError):
        teams.receive(Webhook(platform="teams", channel="messages", headers=headers, body=webhook.body))


def test_the_token_does_not_choose_its_algorithm(vendor: TeamsSimulator, teams: Teams) -> None:
    claims = jwt.decode(vendor.token(), options={"verify_signature": False})
    activity = vendor.activity("a:1", "Hi")
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": KID})
    shared = jwt.encode(claims, "the public key as a password, of enough length", algorithm="HS256", headers={"kid": KID})
    for token in (unsigned, shared, vendor.token(algorithm="RS384")):
        with pytest.raises(VerificationError):
            teams.receive(vendor.webhook(activity, token=token))


@pytest.mark.parametrize(
    "swapped",
    [
        {"serviceUrl": "https://evil.example/"},
        {"serviceUrl": ""},
        {"serviceUrl": None},
        {"channelId": "webchat"},
        {"channelId": "emulator"},
        {"channelId": None},
    ],
)
def test_an_edited_body_cannot_lead_our_token_elsewhere(vendor: TeamsSimulator, teams: Teams, swapped: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        teams.receive(vendor.webhook(vendor.activity("a:1", "Hi", **swapped)))


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://smba.trafficmanager.net/emea/", True),
        ("https://europe.botframework.com/", True),
        ("https://x.teams.microsoft.com:443/", True),
        ("http://smba.trafficmanager.net/emea/", False),
        ("https://smba.trafficmanager.net.evil.example/", False),
        ("https://evilbotframework.com/", False),
        ("https://other.trafficmanager.net/", False),
        ("https://x@smba.trafficmanager.net/", False),
        ("https://smba.trafficmanager.net:8443/", False),
        ("https://smba.trafficmanager.net:nine/", False),
    ],
)
def test_a_vouched_address_must_still_be_microsofts(vendor: TeamsSimulator, teams: Teams, url: str, trusted: bool) -> None:
    webhook = vendor.webhook(vendor.activity("a:1", "Hi", serviceUrl=url), token=vendor.token(serviceurl=url))
    if trusted:
        assert teams.receive(webhook).messages
    else:
        with pytest.raises(VerificationError, match="not one of Microsoft's"):
            teams.receive(webhook)


def test_a_web_chat_that_anybody_can_write_in_as_anybody_is_refused(vendor: TeamsSimulator, teams: Teams) -> None:
    webhook = vendor.webhook(vendor.activity("a:1", "Hi", channelId="webchat"), token=vendor.token(kid="for-webchat"))
    with pytest.raises(VerificationError, match="only the channel msteams"):
        teams.receive(webhook)


def test_a_missing_app_id_refuses_everything(vendor: TeamsSimulator) -> None:
    with pytest.raises(VerificationError, match="app_id"):
        Teams({**vendor.secrets, "app_id": ""}).receive(vendor.webhook(vendor.activity("a:1", "Hi")))


@settings(max_examples=80, deadline=None)
@given(
    claims=st.fixed_dictionaries(
        {},
        optional={
            "iss": st.sampled_from(["https://api.botframework.com", "https://sts.windows.net/t/", "", None]),
            "aud": st.sampled_from([APP, "other", "", None]),
            "exp": st.integers(-900, 900).map(lambda n: NOW + n * 7),
            "nbf": st.integers(-900, 900).map(lambda n: NOW + n * 7),
            "serviceurl": st.sampled_from(["SAME", "https://evil.example/", None]),
        },
    ),
    kid=st.sampled_from([KID, KID, KID, "for-webchat"]),
    key=st.sampled_from(["connector", "connector", "mallory"]),
    damage=st.sampled_from(["none", "none", "cut", "flip", "scheme", "alg"]),
    at=st.integers(0, 5000),
)
def test_our_checks_agree_with_the_vendors(
    vendor: TeamsSimulator, teams: Teams, claims: dict[str, Any], kid: str, key: str, damage: str, at: int
) -> None:
    if claims.get("serviceurl") == "SAME":
        claims["serviceurl"] = vendor.service_url
    near = (claims.get("exp", NOW + 900) - NOW + 300, claims.get("nbf", NOW) - NOW - 300)
    if any(abs(edge) < 120 for edge in near):
        return  # theirs reads the real clock: too near to an edge to compare
    token = vendor.token(kid=kid, key=key, algorithm="RS512" if damage == "alg" else "RS256", **claims)
    if damage == "cut":
        token = token[: at % len(token)]
    if damage == "flip":
        n = at % (len(token) - 8)  # the last letters of a signature may hold bits that count for nothing
        token = token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :]
    header = f"{'Basic' if damage == 'scheme' else 'Bearer'} {token}"
    webhook = vendor.webhook(vendor.activity("a:1", "Hi"))
    try:
        teams.receive(
            Webhook(platform="teams", channel="messages", headers={**webhook.headers, "authorization": header}, body=webhook.body)
        )
        ours = True
    except VerificationError:
        ours = False
    assert ours == _theirs(header, vendor)


def _theirs(header: str, vendor: TeamsSimulator) -> bool:
    ChannelValidation.open_id_metadata_endpoint = vendor.secrets["openid_metadata"]
    check = ChannelValidation.authenticate_channel_token_with_service_url(
        header, SimpleCredentialProvider(APP, ""), vendor.service_url, "msteams"
    )
    try:
        return bool(asyncio.run(check).is_authenticated)
    except Exception:  # theirs raises PermissionError, PyJWT's errors, bare Exception, IndexError
        return False


@pytest.fixture(autouse=True, scope="module")
def forgotten_keys() -> Iterator[None]:
    yield
    JwtTokenExtractor.metadataCache.clear()
    ChannelValidation.open_id_metadata_endpoint = None


class Loads:
    """Documents by address, counted."""

    def __init__(self, vendor: TeamsSimulator) -> None:
        self.count = 0
        self.broken = False
        self.keys = list(vendor.keys)

    def __call__(self, url: str) -> bytes:
        if self.broken:
            raise Unavailable("no network")
        self.count += 1
        return json.dumps({"keys": self.keys} if url.endswith("/keys") else {"jwks_uri": "https://x.example/keys"}).encode()


def test_keys_are_kept_a_day_and_an_unknown_one_is_looked_for_once_an_hour(vendor: TeamsSimulator) -> None:
    now, loads = [0.0], Loads(vendor)
    keys = Keys("https://x.example/meta", clock=lambda: now[0], load=loads)
    for _ in range(3):
        keys.find(KID)
    assert loads.count == 2
    for now[0] in (10.0, 3600.0):
        with pytest.raises(VerificationError):
            keys.find("new")
    assert loads.count == 2
    loads.keys.append(vendor.published("new"))
    now[0] = 3601.0
    assert keys.find("new")
    assert loads.count == 4
    now[0] += 24 * 3600
    keys.find(KID)
    assert loads.count == 4
    now[0] += 1
    keys.find(KID)
    assert loads.count == 6


def test_without_microsofts_keys_nothing_is_believed(vendor: TeamsSimulator) -> None:
    now, loads = [0.0], Loads(vendor)
    keys = Keys("https://x.example/meta", clock=lambda: now[0], load=loads)
    loads.broken = True
    with pytest.raises(Unavailable):
        keys.find(KID)
    loads.broken = False
    keys.find(KID)
    loads.broken, now[0] = True, 7200.0
    assert keys.find(KID)
    with pytest.raises(VerificationError):
        keys.find("unknown")
    now[0] = 25 * 3600.0
    with pytest.raises(Unavailable):
        keys.find(KID)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"jwks_uri":7}', b'{"jwks_uri":"file:///etc/passwd"}'])
def test_a_description_of_keys_that_is_none_is_not_followed(document: bytes) -> None:
    with pytest.raises(Unavailable):
        Keys("https://x.example/meta", clock=lambda: 0.0, load=lambda url: document).find(KID)


@pytest.mark.parametrize(
    ("body", "kind", "method", "status"),
    [
        (b"{", "application/json", "POST", 400),
        (b"[]", "application/json", "POST", 400),
        (b"\xff", "application/json", "POST", 400),
        (b"{}", "text/plain", "POST", 415),
        (b"{}", "application/json", "GET", 405),
    ],
)
def test_a_proven_request_that_cannot_be_read_is_a_clear_4xx(
    vendor: TeamsSimulator, teams: Teams, body: bytes, kind: str, method: str, status: int
) -> None:
    headers = {"content-type": kind, "authorization": f"Bearer {vendor.token()}"}
    with pytest.raises(Refused) as refused:
        teams.receive(Webhook(platform="teams", channel="messages", method=method, headers=headers, body=body))
    assert refused.value.status == status


# --- messages ---


@pytest.fixture
def receive(vendor: TeamsSimulator, teams: Teams) -> Any:
    def act(*arguments: Any, **more: Any) -> Received:
        return teams.receive(vendor.webhook(vendor.activity(*arguments, **more)))

    return act


def one(got: Received) -> Message:
    (message,) = got.messages
    return message


def test_a_direct_message_is_text(receive: Any) -> None:
    got = receive("a:1", "\n Hi&nbsp;&lt;b&gt; &amp;amp; \n", timestamp="2027-01-15T08:00:00.1234567Z", id="17")
    message = one(got)
    assert (message.kind, message.conversation, message.sender, message.text) == ("text", "a:1", "29:ann", "Hi\u00a0<b> &amp;")
    assert (message.event_id, message.message_id, message.dedup_id) == ("17", "17", "a:1:17")
    assert (message.direct, message.thread, message.sender_name, message.locale) == (True, "", "Ann & Co", "en-US")
    assert message.sent_at == 1_800_000_000_123
    assert (got.reply.status, got.reply.body) == (202, "")


def test_a_mention_in_a_channel_stands_in_its_thread(receive: Any) -> None:
    message = one(receive("19:x@thread.tacv2;messageid=170", "Hi"))
    assert (message.text, message.direct, message.thread) == ("Hi", False, "170")
    assert message.conversation == "19:x@thread.tacv2;messageid=170"


def mention(id_: str, name: str) -> dict[str, Any]:
    return {"type": "mention", "mentioned": {"id": id_, "name": name}, "text": f"<at>{name}</at>"}


@pytest.mark.parametrize(
    ("text", "entities", "shown"),
    [
        ("<at>Desk</at> Hi", [mention(BOT, "Desk")], "Hi"),
        ("<at>Desk</at>&nbsp;Hi\n", [mention(BOT, "Desk")], "Hi"),
        ("Hi <at>Desk</at>!", [mention(BOT, "Desk")], "Hi!"),
        ("Hi <at>Desk</at> there", [mention(BOT, "Desk")], "Hi there"),
        ("<at>Desk</at> <at>Desk 2</at> Hi", [mention(BOT, "Desk"), mention("28:other", "Desk 2")], "Desk 2 Hi"),
        ("<at>Desk</at> ask <at>Desk</at>", [mention(BOT, "Desk"), mention("29:bob", "Desk")], "ask Desk"),
        ("<at>Desk</at> ask <at>Desk</at>", [mention("29:bob", "Desk"), mention(BOT, "Desk")], "Desk ask"),
        ("<at>小助手😀</at>你好", [mention(BOT, "小助手😀")], "你好"),
        ("<at>R&amp;D</at> Hi <at>A&amp;B</at>", [mention(BOT, "R&amp;D"), mention("29:ab", "A&B")], "Hi <at>A&B</at>"),
        ("<at>Ann</at> Hi", [], "Ann Hi"),
        ("<at>Desk</at>", [mention(BOT, "Desk")], ""),
        ("a &lt;at&gt;b&lt;/at&gt;", [], "a <at>b</at>"),
        ("\u202eabc 👩‍👩‍👧", [], "\u202eabc 👩‍👩‍👧"),
    ],
)
def test_text_is_what_a_person_reads(text: str, entities: list[dict[str, Any]], shown: str) -> None:
    if "A&amp;B" in text:
        entities[1]["text"] = "<at>A&amp;B</at>"
        shown = "Hi A&B"
    assert readable(text, entities, BOT) == shown


def test_what_nobody_asked_the_bot_is_not_answered(receive: Any) -> None:
    assert receive("19:x@thread.tacv2", "Hi", entities=[]).messages == ()
    assert receive("19:x@thread.tacv2", "Hi", entities=[mention("28:other", "Other")]).messages == ()
    assert receive("a:1", "Hi", **{"from": {"id": BOT, "name": "Desk"}}).messages == ()
    assert receive("a:1", "Hi", **{"from": {"id": "28:other", "role": "bot"}}).messages == ()
    assert receive("a:1", "Hi", **{"from": {}}).messages == ()
    assert receive("a:1", "Hi", conversation={}).messages == ()
    for kind in ("typing", "messageReaction", "event", "endOfConversation", "trace", "brandNew"):
        got = receive("a:1", kind=kind)
        assert (got.messages, got.reply.status) == ((), 202)


def test_a_file_and_a_picture_say_where_they_are(receive: Any) -> None:
    copy = {"contentType": "text/html", "content": "<p>look</p>"}
    content = {"downloadUrl": "https://x.sharepoint.com/d?t=1", "uniqueId": "u", "fileType": "pdf"}
    file = {"contentType": "application/vnd.microsoft.teams.file.download.info", "name": "plan.pdf", "content": content}
    message = one(receive("a:1", "look", attachments=[copy, file]))
    assert (message.kind, message.file_key, message.file_name, message.text) == (
        "file", "https://x.sharepoint.com/d?t=1", "plan.pdf", "look",
    )  # fmt: skip
    picture = {"contentType": "image/png", "contentUrl": "https://smba.trafficmanager.net/v3/attachments/1"}
    message = one(receive("a:1", "", attachments=[picture, copy]))
    assert (message.kind, message.file_key) == ("image", "https://smba.trafficmanager.net/v3/attachments/1")
    assert one(receive("a:1", "Hi", attachments=[copy])).kind == "text"


def test_a_quoted_message_is_kept_apart(receive: Any) -> None:
    reference = {"contentType": "messageReference", "content": json.dumps({"messageId": "1", "messagePreview": "It was"})}
    assert one(receive("a:1", "why?", attachments=[reference])).quoted == "It was"


def test_both_notices_of_an_installation_share_one_id(receive: Any, vendor: TeamsSimulator) -> None:
    added = one(receive("a:1", kind="conversationUpdate", membersAdded=[{"id": "29:ann"}, {"id": BOT}]))
    installed = one(receive("a:1", kind="installationUpdate", action="add"))
    assert (added.kind, installed.kind) == ("bot_added", "bot_added")
    assert added.dedup_id == installed.dedup_id
    assert added.event_id != installed.event_id
    removed = one(receive("a:1", kind="conversationUpdate", membersRemoved=[{"id": BOT}]))
    assert (removed.kind, one(receive("a:1", kind="installationUpdate", action="remove")).dedup_id) == (
        "bot_removed",
        removed.dedup_id,
    )
    assert receive("a:1", kind="conversationUpdate", membersAdded=[{"id": "29:bob"}]).messages == ()
    assert receive("a:1", kind="installationUpdate", action="add-upgrade").messages == ()


def test_edits_and_deletions_are_about_their_message(receive: Any) -> None:
    edited = one(receive("a:1", kind="messageUpdate", id="17", text="new", channelData={"eventType": "editMessage"}))
    assert (edited.kind, edited.text, edited.message_id) == ("edited", "new", "17")
    deleted = one(receive("a:1", kind="messageDelete", id="17", channelData={"eventType": "softDeleteMessage"}))
    assert (deleted.kind, deleted.message_id) == ("recalled", "17")
    said = one(receive("a:1", "old", id="17"))
    assert len({edited.dedup_id, deleted.dedup_id, said.dedup_id}) == 3
    assert receive("a:1", kind="messageUpdate", id="17", text="x", channelData={"eventType": "undeleteMessage"}).messages == ()
    assert receive("19:x@thread.tacv2", kind="messageUpdate", id="17", text="x").messages == ()


@pytest.mark.parametrize(
    ("action", "key", "value"),
    [
        ({"type": "Action.Execute", "verb": "ok", "data": {"a": 1}}, "ok", {"a": 1}),
        ({"type": "Action.Execute", "verb": "ok"}, "ok", None),
        ({"type": "Action.Execute", "verb": "ok", "data": {"assistant_value": {"d": 3}, "action_key": "ok"}}, "ok", {"d": 3}),
        (
            {"type": "Action.Execute", "verb": "ok", "data": {"assistant_value": 1, "action_key": "ok", "note": "n"}},
            "ok",
            {"value": 1, "note": "n"},
        ),
    ],
)
def test_a_card_action_is_answered_at_once_and_queued(receive: Any, action: dict[str, Any], key: str, value: Any) -> None:
    invoke = {"name": "adaptiveCard/action", "replyToId": "1:5", "value": {"action": action, "trigger": "manual"}}
    got = receive("a:1", kind="invoke", **invoke)
    message = one(got)
    assert (message.kind, message.action_key, message.action_value, message.message_id) == ("card_action", key, value, "1:5")
    assert json.loads(got.reply.body) == {
        "statusCode": 200,
        "type": "application/vnd.microsoft.activity.message",
        "value": "Received",
    }
    assert (got.reply.status, got.reply.content_type) == (200, "application/json")


def test_a_card_that_refreshes_itself_is_no_click(receive: Any) -> None:
    value = {"action": {"type": "Action.Execute", "verb": "ok"}, "trigger": "automatic"}
    got = receive("a:1", kind="invoke", name="adaptiveCard/action", value=value)
    assert (got.messages, got.reply.status) == ((), 200)


def test_a_submitted_card_is_an_action(receive: Any) -> None:
    message = one(receive("a:1", replyToId="1:5", value={"action": "approve", "id": 7, "msteams": {}}, text=None))
    assert (message.kind, message.action_key, message.action_value) == ("card_action", "approve", {"action": "approve", "id": 7})
    group = one(receive("19:x@thread.tacv2", value={"verb": "ok"}, text="", entities=[]))
    assert (group.kind, group.action_key, group.direct) == ("card_action", "ok", False)


@pytest.mark.parametrize(
    ("name", "status"), [("message/submitAction", 200), ("task/fetch", 501), ("brand/new", 501), (None, 501)]
)
def test_an_unknown_invoke_is_told_so(receive: Any, name: str | None, status: int) -> None:
    got = receive("a:1", kind="invoke", name=name, value={})
    assert (got.messages, got.reply.status) == ((), status)


@settings(max_examples=80, deadline=None)
@given(
    content=st.dictionaries(
        st.sampled_from(
            ["type", "id", "text", "from", "recipient", "conversation", "entities", "attachments", "value", "channelData"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "name", "text", "mentioned"]), inner)
            ),
            max_leaves=10,
        ),
    ),
    kind=st.sampled_from(["message", "invoke", "conversationUpdate", "messageUpdate", "messageDelete", "installationUpdate"]),
)
def test_no_proven_body_breaks_the_reader(
    vendor: TeamsSimulator, teams: Teams, good_token: str, content: dict[str, Any], kind: str
) -> None:
    activity = {**vendor.activity("a:1", "Hi"), **content, "type": kind}
    try:
        teams.receive(vendor.webhook(activity, token=good_token))
    except Refused:
        return  # a clear 4xx is an answer; any other exception is not
