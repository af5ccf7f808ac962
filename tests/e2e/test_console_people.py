"""The administrators' screens in a real browser against the real API: found, made, changed, taken back; in both languages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from assistant.dev.emulator import Emulator
from assistant.dev.runner import listen, serve
from assistant.errors import ModelError
from assistant.oauth.vault import Account, Person, Tokens
from assistant.plugins import FAULTS, MenuItem, PluginContext
from assistant.testing import make
from assistant_plugins.calendar import Calendar
from tests.e2e.conftest import DESKTOP, PHONE, check
from tests.integration.test_api import ApiFunction
from tests.integration.test_plugin_care import Table, ask, equip
from tests.simulators.identity import CLIENT, SECRET, Identity
from tests.support.house import WEBCHAT_KEY, House, ScriptedModel

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]

VARIANTS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True, "locale": "zh-CN", "color_scheme": "dark"},
}
HOSTILE = '<img src=x onerror="alert(1)">"\'&{name}'


class Desk(Table):
    """With an entry in the menu."""

    def get_menu(self, ctx: PluginContext) -> Sequence[MenuItem]:
        """One."""
        return [MenuItem(title="Seats", text="seats")]


class Site:
    """The page and its real API at `base`, and a browser on it. `t` gives the page's own words, whatever its language."""

    def __init__(self, house: House, base: str, open_at: Open, identity: Identity) -> None:
        self.house = house
        self.base = base
        self.identity = identity
        self._open = open_at
        self.page: Page

    def open(self, screen: str = "", *, key: str = WEBCHAT_KEY, **options: Any) -> Page:
        """Opens a screen, signed in with `key`."""
        self.page = self._open(f"{self.base}/#key={key}", **options)
        self.page.wait_for_selector("#main, .sign-in")
        self.go(screen)
        return self.page

    def go(self, screen: str, *, ready: str = "main") -> None:
        """Another screen, once it has loaded."""
        self.page.evaluate("where => { location.hash = where }", f"#/{screen}")
        self.page.wait_for_selector(f"#main[data-screen={screen or 'chat'}]")
        self.page.wait_for_selector(ready)
        self.page.wait_for_selector("[data-loading]", state="detached")

    def t(self, name: str, /, **values: str) -> str:
        """The page's words for `name`, in the language it is in."""
        found: str = self.page.evaluate(
            """async ([name, values]) => {
                const at = document.querySelector('script[type=module]').src.replace('app.js', 'words.js');
                return (await import(at)).t(name, values);
            }""",
            [name, values],
        )
        return found

    def press(self, name: str, /, *, within: str = "main", **values: str) -> None:
        """Clicks the button called so."""
        self.page.locator(within).get_by_role("button", name=self.t(name, **values), exact=True).click()

    def fill(self, name: str, text: str, *, within: str = "main") -> None:
        """Fills the field called so."""
        self.page.locator(within).get_by_label(self.t(name), exact=True).fill(text)

    def confirm(self, name: str, **fields: str) -> None:
        """Fills a dialog's fields and presses its button; waits until it is gone."""
        for field, text in fields.items():
            self.fill(field, text, within="dialog")
        self.press(name, within="dialog")

    def gone(self) -> None:
        """Waits until no dialog is open."""
        self.page.wait_for_selector("dialog", state="detached")

    def acts(self) -> list[tuple[str, str]]:
        """The audit log, oldest first: what, and why; but for the chat's own look at its conversation."""
        acts = reversed(self.house.assistant.audit.list())
        return [(a.what, a.why) for a in acts if not a.target.startswith("webchat:web-")]


@pytest.fixture
def identity() -> Iterator[Identity]:
    with Identity() as made:
        yield made


@pytest.fixture
def site(aws: Emulator, open_at: Open, identity: Identity) -> Iterator[Site]:
    """A fresh installation with an OpenID Connect provider to sign in with."""
    listening = listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    okta = {"client_id": CLIENT, "client_secret": SECRET, "issuer": identity.base, "title": "Okta"}
    house = House(
        aws,
        model=ScriptedModel(["Fourteen days."]),
        secrets={"oauth-okta": okta, "slack": {"signing_secret": "s", "bot_token": "xoxb-1", "api_base": identity.base}},
        public_url=base,
        sign_in="okta",
        sign_in_roles=json.dumps({"admin": ["groups=assistant-admins"], "user": ["groups=staff"]}),
    )
    identity.redirects = {f"{base}/api/sign-in/okta/callback"}
    server = serve(listening, ApiFunction(house))
    yield Site(house, base, open_at, identity)
    server.shutdown()
    server.server_close()
    listening.close()


@contextmanager
def downloaded(page: Page) -> Iterator[list[Any]]:
    """What the browser saves within the block, decoded."""
    found: list[Any] = []
    with page.expect_download() as caught:
        yield found
    found.append(json.loads(caught.value.path().read_text(encoding="utf-8")))


# --- signing in --------------------------------------------------------------------------------


def groups(identity: Identity, *names: str) -> None:
    """The provider says of whoever signs in that they are in these groups."""
    identity.signed = lambda claims: identity.sign(claims | {"groups": list(names)})


def test_somebody_signs_in_with_the_company_account_and_out_again(site: Site, axe: str) -> None:
    groups(site.identity, "staff", "assistant-admins")
    page = site.page = site._open(site.base)
    page.get_by_role("link", name="Continue with Okta").wait_for()
    problems = check(page, axe, "sign-in-account")
    page.get_by_role("link", name="Continue with Okta").click()
    page.get_by_text("Administrator").wait_for()
    assert "Ann" in page.locator(".who").inner_text()
    [cookie] = [c for c in page.context.cookies() if c["name"] == "assistant-session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    site.fill("composer_label", "How long?")
    with page.expect_response(re.compile("/messages$")):
        page.keyboard.press("Enter")
    site.house.drain()
    page.locator(".body", has_text="Fourteen days.").wait_for()
    assert site.house.assistant.archive.find(person="webchat:okta-sub-ann").conversations, "the message is Ann's"
    site.go("keys", ready=".nothing")
    site.page.reload()
    page.locator(".nothing").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    page.reload()
    page.get_by_label("API key").wait_for()
    assert problems == []
    assert site.acts() == [("sign in", "")]


@pytest.mark.parametrize(("case", "said"), [("no role", "no role is assigned"), ("denied", "You did not allow")])
def test_a_sign_in_that_comes_to_nothing_says_why_and_what_to_do(site: Site, case: str, said: str) -> None:
    site.identity.allows = case != "denied"
    groups(site.identity, "visitors")
    page = site._open(site.base)
    page.get_by_role("link", name="Continue with Okta").click()
    page.get_by_role("alert").get_by_text(said).wait_for()
    assert page.context.cookies() == []


def test_a_colleague_in_no_other_role_finds_only_what_is_theirs(site: Site) -> None:
    groups(site.identity, "staff")
    page = site._open(site.base)
    page.get_by_role("link", name="Continue with Okta").click()
    page.locator(".who", has_text="User").wait_for()
    names = page.locator(".screens a").all_inner_texts()
    assert names == ["Chat", "Health", "Authorisations", "Guides"]
    page.get_by_role("link", name="Authorisations").click()
    page.get_by_text("You have allowed nothing").wait_for()
    page.goto(f"{site.base}/#/keys")
    page.get_by_role("heading", name="Not for your role").wait_for()


def test_another_sites_page_cannot_use_the_cookie(site: Site) -> None:
    groups(site.identity, "assistant-admins")
    page = site._open(site.base)
    page.get_by_role("link", name="Continue with Okta").click()
    page.get_by_text("Administrator").wait_for()
    status = page.evaluate("fetch('/api/rollout', {method: 'POST', body: '{\"action\": \"halt\"}'}).then(a => a.status)")
    assert status == 403
    assert not site.house.assistant.rollouts.read().halted


# --- conversations of others -------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_conversation_is_found_read_exported_and_erased_each_with_its_reason(site: Site, name: str) -> None:
    site.house.say("Where is my parcel?", user="ann", conversation="anns")
    site.house.say("Something else", user="bob", conversation="bobs")
    site.house.drain()
    page = site.open("archive", **VARIANTS[name])
    assert page.locator(".stack tbody tr").count() == 2
    site.fill("archive_words", "parcel")
    site.press("archive_find")
    site.fill("archive_why", "ticket 4711")
    site.press("archive_find")
    page.get_by_text("Where is my parcel?").wait_for()
    assert page.locator(".stack tbody tr").count() == 1
    site.press("archive_read_this", person="webchat:ann")
    site.press("archive_read", within="dialog")
    page.locator(".transcript").get_by_text("Fourteen days.").wait_for()
    with downloaded(page) as saved:
        site.press("archive_export")
    assert [turn["question"] for turn in saved[0]["turns"]] == ["Where is my parcel?"]
    site.press("archive_erase")
    site.confirm("archive_erase", archive_why="asked for by Ann")
    site.gone()
    site.fill("archive_words", "")
    site.press("archive_find")
    page.locator(".stack tbody tr").first.wait_for()
    assert page.locator(".stack tbody tr").count() == 1
    assert site.house.turns("anns") == []
    assert [t["question"] for t in site.house.turns("bobs")] == ["Something else"]
    assert site.acts() == [
        ("search conversations", "ticket 4711"),
        ("read conversation", "ticket 4711"),
        ("export conversation", "ticket 4711"),
        ("erase conversation", "asked for by Ann"),
        ("search conversations", "ticket 4711"),  # the list that is shown afterwards
    ]


def test_nobody_reads_a_conversation_without_saying_why(site: Site) -> None:
    site.house.say("Private", user="ann")
    site.house.drain()
    page = site.open("archive")
    site.press("archive_read_this", person="webchat:ann")
    site.press("archive_read", within="dialog")
    page.get_by_role("alert").get_by_text("Say in a few words why.").wait_for()
    assert page.get_by_text("Private").count() == 0
    assert site.acts() == []


# --- keys, audit, privacy, authorisations ------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_key_is_made_with_a_scope_rotated_with_an_overlap_and_revoked(site: Site, name: str) -> None:
    page = site.open("keys", **VARIANTS[name])
    page.locator(".nothing").wait_for()
    page.locator(".nothing").get_by_role("button").click()
    site.fill("keys_name", HOSTILE, within="dialog")
    page.locator("dialog select").first.select_option("operator")
    page.locator("dialog summary").click()
    page.locator("dialog").get_by_label(site.t("scope_figures"), exact=True).select_option("figures:read")
    site.press("keys_make", within="dialog")
    secret = page.locator("dialog .copyable code").inner_text()
    who = site.house.assistant.access.identify(f"Bearer {secret}", role="operator", area="figures")
    assert (who.name, who.role, who.scopes) == (HOSTILE, "operator", ("figures:read",))
    site.press("keys_secret_kept", within="dialog")
    page.get_by_text(HOSTILE).first.wait_for()
    assert page.locator("main img").count() == 0
    site.press("keys_rotate_this", name=HOSTILE)
    site.confirm("keys_rotate", keys_overlap="1")
    page.locator("dialog .copyable code").wait_for()
    second = page.locator("dialog .copyable code").inner_text()
    site.press("keys_secret_kept", within="dialog")
    for good in (secret, second):
        assert site.house.assistant.access.identify(f"Bearer {good}", role="operator", area="figures").scopes
    site.house.offset = 3700
    assert site.house.assistant.access.identify(f"Bearer {second}", role="user").scopes
    with pytest.raises(Exception, match="expired"):
        site.house.assistant.access.identify(f"Bearer {secret}", role="user")
    page.get_by_role("button", name=site.t("keys_revoke_this", name=HOSTILE)).first.click()
    site.confirm("keys_revoke")
    site.gone()
    assert [what for what, _ in site.acts()] == ["add key", "rotate key", "revoke key"]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_audit_log_is_filtered_and_paged(site: Site, name: str) -> None:
    for n in range(60):
        with site.house.assistant.audit.act("k1" if n % 2 else "k2", "halt" if n % 3 else "promote", f"target {n}"):
            pass
        site.house.offset += 1
    page = site.open("audit", **VARIANTS[name])
    page.locator(".stack tbody tr").first.wait_for()
    assert page.locator(".stack tbody tr").count() == 50
    site.press("audit_older")
    page.locator(".stack tbody tr").nth(59).wait_for()
    site.fill("audit_who", "k1")
    site.fill("audit_what", "promote")
    site.press("audit_filter")
    page.locator(".stack tbody tr").nth(10).wait_for(state="detached")
    assert page.locator(".stack tbody tr").count() == 10
    site.fill("audit_who", "nobody")
    site.press("audit_filter")
    page.get_by_role("heading", name=site.t("audit_none")).wait_for()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_persons_data_is_given_and_erased_after_their_name_was_typed_again(site: Site, name: str) -> None:
    site.house.say("Where is my parcel?", user="ann")
    site.house.drain()
    page = site.open("privacy", **VARIANTS[name])
    site.fill("privacy_person", "ann")
    site.press("privacy_export")
    page.get_by_text(site.t("privacy_missing")).wait_for()
    site.fill("privacy_person", "webchat:ann")
    with downloaded(page) as saved:
        site.press("privacy_export")
    assert [turn["question"] for turn in saved[0]["turns"]] == ["Where is my parcel?"]
    site.press("privacy_erase")
    site.confirm("privacy_do", privacy_type="webchat:bob")
    page.get_by_role("alert").get_by_text(site.t("privacy_different", person="webchat:ann")).wait_for()
    assert site.house.turns() != []
    site.confirm("privacy_do", privacy_type="webchat:ann")
    site.gone()
    assert site.house.turns() == []
    assert [what for what, _ in site.acts()] == ["export person", "erase person"]


@pytest.mark.parametrize("name", VARIANTS)
def test_an_administrator_sees_what_everybody_has_allowed_and_takes_it_back(site: Site, name: str) -> None:
    vault = site.house.assistant.authorisations.vault
    for user in ("U1", "U2"):
        person = Person(site.house.settings.tenant, "slack", user)
        vault.store(person, "okta", Tokens(access="a", lives=3600), asked=["calendar.read"], account=Account(id="1", name="Ann"))
    page = site.open("authorisations", **VARIANTS[name])
    page.locator(".stack tbody tr").nth(1).wait_for()
    site.fill("consents_filter", "U2")
    page.locator(".stack tbody tr").nth(1).wait_for(state="detached")
    site.press("consents_revoke_this", provider="okta", person="slack:U2")
    site.confirm("consents_revoke")
    site.gone()
    assert vault.grants(Person(site.house.settings.tenant, "slack", "U2")) == []
    assert [p.user for p, _ in vault.everybody(site.house.settings.tenant)[0]] == ["U1"]


# --- the machine -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_figures_are_drawn_and_told_as_a_table(site: Site, name: str) -> None:
    page = site.open("health", **VARIANTS[name])
    page.get_by_role("heading", name=site.t("figures_none")).wait_for()
    site.house.model.answers = ["Fourteen days."] * 9 + [ModelError("no")]
    for n in range(9):
        site.house.say(f"Question {n}", conversation=f"c{n}")
    site.house.drain()
    site.house.offset = 31  # what was read is kept for half a minute
    site.press("health_check_now")
    page.locator(".tile").first.wait_for()
    assert page.locator(".tile").first.inner_text().split("\n") == [site.t("figures_turns"), "9"]
    charts = page.locator(".chart:not(.empty)")
    assert charts.count() >= 4
    charts.first.locator("summary").click()
    assert charts.first.locator("tbody tr").count() >= 1
    assert re.search(r"\d", charts.first.locator("svg").get_attribute("aria-label") or "")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_platforms_addresses_and_steps_stand_with_its_report(site: Site, name: str) -> None:
    page = site.open("platforms", **VARIANTS[name])
    slack = page.locator(".doctor-card, .unconnected > li", has=page.get_by_text("/webhook/slack/", exact=False)).last
    slack.locator("summary").click()
    assert f"{site.base}/webhook/slack/events" in slack.inner_text()
    slack.locator(".steps-body :is(h4, h5)").first.wait_for()
    assert page.get_by_text(f"{site.base}/api/sign-in/okta/callback").is_visible()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_ring_is_edited_somebody_is_found_and_a_plan_begins(site: Site, name: str) -> None:
    rollouts = site.house.assistant.rollouts
    rollouts.set({"reached": "internal"}, who="Bob", why="start small")
    page = site.open("rings", **VARIANTS[name])
    page.get_by_role("button", name=site.t("rings_edit_ring", ring=site.t("rings_internal"))).click()
    site.fill("rings_people", "slack:U1", within="dialog")
    page.locator("dialog").get_by_label(site.t("rings_memory"), exact=True).select_option("member")
    site.fill("rings_person_tokens", "5000", within="dialog")
    site.confirm("rings_do", rings_why="first ten", rings_who="Ann")
    site.gone()
    ring = rollouts.read().ring("internal")
    assert (ring.people, ring.memory, ring.person_tokens) == (("slack:U1",), "member", 5000)
    site.fill("rings_find", "slack:U1")
    site.press("rings_find_go")
    page.get_by_text(site.t("rings_found", person="slack:U1", ring=site.t("rings_internal"))).wait_for()
    site.press("rings_plan_start")
    site.confirm("rings_do", rings_plan_hours="6", rings_why="quiet week", rings_who="Ann")
    site.gone()
    plan = rollouts.read().plan
    assert plan is not None
    assert (plan.at, plan.hours) == ("internal", 6)
    site.press("rings_plan_stop")
    site.confirm("rings_do")
    site.gone()
    assert rollouts.read().plan is None


@pytest.mark.parametrize("name", VARIANTS)
def test_a_plug_in_that_was_left_out_is_restored_and_its_settings_come_from_a_form(site: Site, name: str) -> None:
    equip(site.house.assistant, make(Desk))
    for _ in range(FAULTS):
        ask(site.house, "break")
    page = site.open("plugins", **VARIANTS[name])
    page.get_by_text("handle_message raised RuntimeError").wait_for()
    site.press("plugins_restore_this", name="table")
    site.confirm("plugins_restore", plugins_why="mended")
    site.gone()
    page.get_by_text(site.t("plugins_ready"), exact=True).wait_for()
    page.get_by_text("Seats → seats").wait_for()
    site.press("plugins_configure_this", name="table")
    page.locator("dialog").get_by_label("Seats", exact=True).fill("0")
    site.press("plugins_save", within="dialog")
    page.get_by_role("alert").get_by_text("greater than or equal to 1").wait_for()
    page.locator("dialog").get_by_label("Seats", exact=True).fill("6")
    site.confirm("plugins_save", plugins_why="larger tables")
    site.gone()
    assert ask(site.house, "seats") == "6 seats"
    assert site.acts()[-1] == ("configure plug-in", "larger tables")


def test_the_chat_works_with_a_key_of_the_lowest_role_and_nothing_else_is_offered(site: Site) -> None:
    _, secret = site.house.assistant.access.add(name="Ann's page", role="user", person="ann")
    page = site.open(key=secret)
    site.fill("composer_label", "How long?")
    with page.expect_response(re.compile("/messages$")):
        page.keyboard.press("Enter")
    site.house.drain()
    page.locator(".body", has_text="Fourteen days.").wait_for()
    assert page.locator(".screens a").all_inner_texts() == ["Chat", "Health", "Authorisations", "Guides"]


def test_a_key_is_revoked_with_the_keyboard_alone(site: Site) -> None:
    site.house.assistant.access.add(name="portal", role="user")
    page = site.open("keys")
    button = page.get_by_role("button", name="Revoke key portal")
    for _ in range(60):
        page.keyboard.press("Tab")
        if button.evaluate("node => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    site.gone()
    assert button.evaluate("node => node === document.activeElement"), "the focus is where it was"
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Enter")
    site.gone()
    assert site.house.assistant.access.list()[0].ends


def test_a_server_that_is_away_is_said_so_with_a_way_to_try_again(site: Site) -> None:
    page = site.open("keys")
    page.locator(".nothing").wait_for()
    page.route("**/api/audit*", lambda route: route.abort())
    site.go("audit", ready=".nothing.bad")
    page.get_by_role("alert").get_by_text("There is no connection to the server.").wait_for()
    page.unroute("**/api/audit*")
    site.press("ui_try_again")
    page.locator(".filter").wait_for()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_screen_passes_axe_and_fits_empty_and_full(site: Site, axe: str, name: str, show: Callable[[str], None]) -> None:
    page = site.open(**VARIANTS[name])
    problems = []
    slowest: list[tuple[float, str]] = []
    screens = ["authorisations", "archive", "keys", "audit", "privacy", "health", "platforms", "rings", "plugins", "start"]
    for screen in screens:
        began = time.perf_counter()
        site.go(screen, ready=".nothing, .doctor-card, .walk, .stack, .tile")
        slowest.append((time.perf_counter() - began, screen))
        problems += check(page, axe, f"{name}-{screen}-fresh")
    fill_up(site)
    for screen in ["archive", "keys", "audit", "authorisations", "health", "plugins", "rings", "letters"]:
        site.go("start", ready=".walk")
        site.go(screen, ready=".stack, .tile, .plain-cards, .letters table")
        if screen == "health":
            page.wait_for_selector(".chart svg")
        problems += check(page, axe, f"{name}-{screen}-full")
    site.go("keys", ready=".stack")
    page.locator(".panel-tools button").first.click()
    page.locator("dialog summary").click()
    problems += check(page, axe, f"{name}-keys-dialog")
    page.keyboard.press("Escape")
    site.go("rings", ready=".ring-cards")
    page.locator(".ring-cards button").first.click()
    problems += check(page, axe, f"{name}-rings-dialog")
    page.keyboard.press("Escape")
    site.go("archive", ready=".stack")
    page.locator(".stack .acts button").first.click()
    site.confirm("archive_read", archive_why="ticket 4711")
    page.locator(".transcript").wait_for()
    problems += check(page, axe, f"{name}-archive-read")
    took, screen = max(slowest)
    show(f"{name}: the slowest of {len(screens)} screens, {screen}, was there after {took * 1000:.0f} ms")
    assert problems == []


def fill_up(site: Site) -> None:
    """An installation that has been used for a while."""
    house = site.house
    for n, user in enumerate(["ann", "bob", HOSTILE]):
        house.say(f"How many days of leave does **{user}** get?", user=user, conversation=f"c{n}")
    house.drain()
    house.model.answers = [ModelError("no")]
    house.say("This fails", user="eve", conversation="lost")
    while records := house.batch():
        house.run(records)
    house.offset += 31
    for role in ("user", "editor", "operator"):
        house.assistant.access.add(name=f"Portal of {role}s", role=role, days=90, scopes=["chat"] if role == "user" else [])
    for n in range(5):
        with house.assistant.audit.act("k1", "rollout promote", f"ring {n}", why="quiet for two days"):
            pass
    person = Person(house.settings.tenant, "slack", "U1")
    tokens = Tokens(access="a", lives=3600)
    house.assistant.authorisations.vault.store(
        person, "okta", tokens, asked=["calendar.read"], account=Account(id="1", name="Ann")
    )
    house.assistant.rollouts.set({"people": ["slack:U1"], "tokens": 1000000}, ring="internal", who="Ann", why="first ten")
    house.assistant.rollouts.prompts.add("2026-02", "Answer in two sentences.", who="Ann")


SAID = {
    "desktop": ("Calendar", "Day Begins", "the system parameters are missing"),
    "phone": ("日历", "工作开始时间", "缺少系统参数"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_plug_ins_their_forms_and_the_doctors_findings_are_in_the_readers_language(site: Site, name: str) -> None:
    plugin, field, finding = SAID[name]
    equip(site.house.assistant, make(Calendar, provider="microsoft"))
    page = site.open("plugins", **VARIANTS[name])
    page.get_by_role("heading", name=plugin, exact=True).wait_for()
    site.press("plugins_configure_this", name=plugin)
    page.locator("dialog").get_by_label(field).wait_for()
    site.go("platforms", ready=".doctor-sign")
    page.get_by_text(finding).wait_for()
