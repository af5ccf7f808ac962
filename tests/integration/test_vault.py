"""Tokens: sealed, refreshed once by whoever comes first, never lost because somebody did not answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assistant.dev.emulator import KEY, TABLE, Emulator
from assistant.errors import InvalidSetting, NeedsAuthorisation, Unavailable
from assistant.oauth.envelope import Envelope, Sealed, Unreadable
from assistant.oauth.providers import Providers
from assistant.oauth.vault import Account, Person, Refused, Tokens, Vault
from assistant.secrets import GivenSecrets
from assistant.storage import Table
from tests.simulators.identity import CLIENT, SECRET, Identity
from tests.support.house import client

ANN = Person("t", "slack", "U_ANN")
BOB = Person("t", "slack", "U_BOB")


@dataclass
class Hand:
    """A provider that gives numbered tokens; each refresh token works once."""

    clock: Callable[[], float]
    calls: list[str] = field(default_factory=list)
    answers: list[Exception] = field(default_factory=list)
    live: str = "r0"
    lock: threading.Lock = field(default_factory=threading.Lock)
    meanwhile: Callable[[], None] = lambda: None

    def refresh(self, refresh: str) -> Tokens:
        with self.lock:
            self.calls.append(refresh)
            if self.answers:
                raise self.answers.pop(0)
            if refresh != self.live:
                raise Refused("used already")
            self.live = f"r{int(refresh[1:]) + 1}"
            made = Tokens(access=f"a{self.live[1:]}", refresh=self.live, lives=7200)
        self.meanwhile()
        return made


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pause(seconds: float) -> None:
    """A moment in which the other threads work; the clock stands still."""
    threading.Event().wait(seconds / 50)


def envelope(aws: Emulator, clock: Callable[[], float]) -> Envelope:
    return Envelope(KEY, client=lambda: client(aws, "kms"), clock=clock)


@pytest.fixture
def vault(aws: Emulator, clock: Clock) -> Vault:
    return vault_of(aws, clock)


def vault_of(aws: Emulator, clock: Clock) -> Vault:
    table = Table(TABLE, client=client(aws, "dynamodb"))
    return Vault(table, envelope(aws, clock), clock=clock, wait=pause)


def allow(vault: Vault, person: Person = ANN, *, lives: int = 7200, refresh: str = "r0") -> None:
    tokens = Tokens(access="a0", refresh=refresh, lives=lives)
    vault.store(person, "okta", tokens, asked=("read",), account=Account(id="1", name="Ann"))


def stored(aws: Emulator) -> str:
    return json.dumps(client(aws, "dynamodb").scan(TableName=TABLE)["Items"], default=str)


def test_a_token_is_given_until_shortly_before_its_end_and_then_renewed(vault: Vault, clock: Clock) -> None:
    hand = Hand(clock)
    allow(vault)
    clock.now += 6000
    assert vault.token(ANN, "okta", hand) == "a0"
    assert hand.calls == []
    clock.now += 800  # 400 s before its end
    assert vault.token(ANN, "okta", hand) == "a1"
    clock.now += 6000
    assert vault.token(ANN, "okta", hand) == "a1"
    clock.now += 20_000  # long after its end
    assert vault.token(ANN, "okta", hand) == "a2"
    assert hand.calls == ["r0", "r1"]


@pytest.mark.parametrize("past", [6900, 8000], ids=["near its end", "after its end"])
def test_fifty_at_once_make_one_refresh(aws: Emulator, clock: Clock, past: float) -> None:
    allow(vault_of(aws, clock))
    clock.now += past
    hand = Hand(clock)
    together = threading.Barrier(50)

    def one(_: int) -> str:
        vault = vault_of(aws, clock)  # each an instance of its own, with nothing in memory
        together.wait()
        return vault.token(ANN, "okta", hand)

    with ThreadPoolExecutor(50) as pool:
        got = list(pool.map(one, range(50)))
    assert hand.calls == ["r0"]
    assert set(got) <= {"a0", "a1"}
    if past > 7200:
        assert set(got) == {"a1"}


@pytest.mark.parametrize("vendor", ["feishu", "slack", "okta", "microsoft", "dingtalk"])
def test_fifty_at_once_make_one_refresh_at_each_provider(aws: Emulator, clock: Clock, vendor: str) -> None:
    with Identity(clock=clock) as identity:
        own = {"client_id": CLIENT, "client_secret": SECRET, "api_base": identity.base, "issuer": identity.base}
        if vendor == "microsoft":
            own |= {"tenant_id": "tenant-1", "issuer": f"{identity.base}/tenant-1/v2.0"}
        provider = Providers(GivenSecrets({f"oauth-{vendor}": own}), clock=clock).get(vendor)
        kind = "oidc" if vendor == "okta" else vendor
        access, refresh = identity._issue(kind, ("read", "offline_access"))
        vault = vault_of(aws, clock)
        tokens = Tokens(access=access, refresh=refresh, lives=7200)
        vault.store(ANN, vendor, tokens, asked=("read",), account=Account())
        clock.now += 7300

        def one(_: int) -> str:
            return vault_of(aws, clock).token(ANN, vendor, provider)

        with ThreadPoolExecutor(50) as pool:
            got = set(pool.map(one, range(50)))
        assert identity.refreshed == 1
        assert len(got) == 1
        assert got != {access}


def test_a_provider_that_does_not_answer_deletes_nothing(vault: Vault, clock: Clock) -> None:
    hand = Hand(clock, answers=[Unavailable("503")] * 3)
    allow(vault)
    clock.now += 6900
    assert vault.token(ANN, "okta", hand) == "a0", "it still lives"
    clock.now += 400
    for _ in range(2):
        with pytest.raises(Unavailable):
            vault.token(ANN, "okta", hand)
    assert vault.token(ANN, "okta", hand) == "a1", "and comes back by itself"
    assert vault.grants(ANN)[0].state == "good"


def test_an_instance_that_died_while_it_refreshed_holds_the_others_up_for_half_a_minute_only(vault: Vault, clock: Clock) -> None:
    class Killed(BaseException):
        """The process ends here."""

    hand = Hand(clock)
    allow(vault)
    clock.now += 7300

    class Dying:
        def refresh(self, refresh: str) -> Tokens:
            raise Killed

    with pytest.raises(Killed):
        vault.token(ANN, "okta", Dying())
    with pytest.raises(Unavailable, match="being refreshed"):
        vault.token(ANN, "okta", hand)
    clock.now += 31
    assert vault.token(ANN, "okta", hand) == "a1"


def test_a_slow_holder_whose_lease_has_ended_still_saves_what_it_got(aws: Emulator, vault: Vault, clock: Clock) -> None:
    allow(vault)
    clock.now += 7300
    hand = Hand(clock)
    others: list[str] = []

    def overtaken() -> None:
        """The provider has replaced the token; its answer takes a minute, and somebody else tries with the old one."""
        if not others:
            others.append("asked")
            clock.now += 60
            with pytest.raises(NeedsAuthorisation):
                vault_of(aws, clock).token(ANN, "okta", hand)

    hand.meanwhile = overtaken
    assert vault.token(ANN, "okta", hand) == "a1"
    assert vault.grants(ANN)[0].state == "good"
    assert vault_of(aws, clock).token(ANN, "okta", hand) == "a1"


def test_a_table_that_stumbles_after_the_refresh_does_not_lose_the_new_token(aws: Emulator, clock: Clock) -> None:
    class Stumbling(Table):
        def put(self, item: Any, **more: Any) -> None:
            if "old" in (more.get("values") or {}) and stumbles.pop():
                raise Unavailable("throttled")
            super().put(item, **more)

    stumbles = [False, True, True]
    allow(vault_of(aws, clock))
    clock.now += 7300
    vault = Vault(Stumbling(TABLE, client=client(aws, "dynamodb")), envelope(aws, clock), clock=clock, wait=lambda seconds: None)
    hand = Hand(clock)
    assert vault.token(ANN, "okta", hand) == "a1"
    clock.now += 7300
    assert vault_of(aws, clock).token(ANN, "okta", hand) == "a2"


def test_what_was_allowed_anew_while_the_old_was_refreshed_stands(vault: Vault, clock: Clock) -> None:
    hand = Hand(clock)
    allow(vault)
    clock.now += 7300
    fresh = Tokens(access="new", refresh="r100", lives=7200)

    def allow_anew() -> None:
        vault.store(ANN, "okta", fresh, asked=("read",), account=Account())

    hand.meanwhile = allow_anew
    vault.token(ANN, "okta", hand)
    assert vault.token(ANN, "okta", hand) == "new"


def test_a_refusal_of_an_old_token_does_not_end_a_new_one(vault: Vault, clock: Clock) -> None:
    allow(vault)
    clock.now += 7300
    fresh = Tokens(access="new", refresh="r100", lives=7200)

    class Late:
        def refresh(self, refresh: str) -> Tokens:
            vault.store(ANN, "okta", fresh, asked=("read",), account=Account())
            raise Refused("used already")

    assert vault.token(ANN, "okta", Late()) == "new"
    assert vault.grants(ANN)[0].state == "good"


def test_a_revoked_grant_asks_the_person_and_is_not_tried_again(vault: Vault, clock: Clock) -> None:
    hand = Hand(clock, live="gone")
    allow(vault)
    clock.now += 7300
    for _ in range(3):
        with pytest.raises(NeedsAuthorisation):
            vault.token(ANN, "okta", hand)
    assert hand.calls == ["r0"]
    assert vault.grants(ANN)[0].state == "revoked"


def test_a_token_that_cannot_be_renewed_is_used_up_and_then_asked_for(vault: Vault, clock: Clock) -> None:
    hand = Hand(clock)
    allow(vault, refresh="", lives=3600)
    clock.now += 3500
    assert vault.token(ANN, "okta", hand) == "a0"
    clock.now += 200
    with pytest.raises(NeedsAuthorisation):
        vault.token(ANN, "okta", hand)
    assert hand.calls == []


def test_a_token_that_the_provider_refuses_is_renewed_by_one_of_many(aws: Emulator, clock: Clock) -> None:
    hand = Hand(clock)
    allow(vault_of(aws, clock))
    with ThreadPoolExecutor(max_workers=12) as pool:
        found = list(pool.map(lambda _: vault_of(aws, clock).token(ANN, "okta", hand, refused="a0"), range(12)))
    assert set(found) == {"a1"}
    assert hand.calls == ["r0"]
    assert vault_of(aws, clock).token(ANN, "okta", hand, refused="a0") == "a1", "the one that was refused is gone already"


def test_a_refused_token_that_cannot_be_renewed_is_asked_for_anew(vault: Vault, clock: Clock) -> None:
    allow(vault, refresh="", lives=0)
    with pytest.raises(NeedsAuthorisation):
        vault.token(ANN, "okta", Hand(clock), refused="a0")
    assert vault.grants(ANN)[0].state == "revoked"


def test_a_provider_that_is_down_keeps_a_refused_token(vault: Vault, clock: Clock) -> None:
    allow(vault)
    with pytest.raises(Unavailable):
        vault.token(ANN, "okta", Hand(clock, answers=[Unavailable("down")]), refused="a0")
    assert vault.grants(ANN)[0].state == "good"


def test_a_token_without_an_end_never_ends(vault: Vault, clock: Clock) -> None:
    allow(vault, refresh="", lives=0)
    clock.now += 10 * 365 * 86400
    assert vault.token(ANN, "okta", Hand(clock)) == "a0"


def test_a_life_that_is_not_said_is_two_hours(vault: Vault, clock: Clock) -> None:
    allow(vault, lives=0)
    assert vault.grants(ANN)[0].until == int(clock.now) + 7200


def test_a_scope_that_was_not_granted_is_asked_for_together_with_those_that_were(vault: Vault, clock: Clock) -> None:
    allow(vault)
    with pytest.raises(NeedsAuthorisation) as need:
        vault.token(ANN, "okta", Hand(clock), scopes=("write",))
    assert need.value.scopes == ("read", "write")


def test_nothing_readable_of_a_token_is_in_the_table(aws: Emulator, vault: Vault, clock: Clock) -> None:
    tokens = Tokens(access="access-very-secret", refresh="refresh-very-secret", lives=7200)
    vault.store(ANN, "okta", tokens, asked=(), account=Account(name="Ann"))
    assert "secret" not in stored(aws)
    assert "secret" not in repr(tokens)


def test_one_persons_sealed_token_does_not_open_as_anothers(aws: Emulator, vault: Vault, clock: Clock) -> None:
    allow(vault)
    table = Table(TABLE, client=client(aws, "dynamodb"))
    item = dict(table.get(ANN.partition, "token#okta") or {})
    table.put({**item, "pk": BOB.partition})
    with pytest.raises(Unreadable):
        vault_of(aws, clock).token(BOB, "okta", Hand(clock))
    table.put({**item, "sk": "token#other"})
    with pytest.raises(Unreadable):
        vault_of(aws, clock).token(ANN, "other", Hand(clock))


def test_kms_is_asked_once_for_a_token_that_is_used_again_and_again(aws: Emulator, clock: Clock) -> None:
    asked: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(client(aws, "kms"), name)

    allow(vault_of(aws, clock))
    sealed = Envelope(KEY, client=Counting, clock=clock)
    vault = Vault(Table(TABLE, client=client(aws, "dynamodb")), sealed, clock=clock)
    for _ in range(20):
        assert vault.token(ANN, "okta", Hand(clock)) == "a0"
    assert asked == ["decrypt"]
    clock.now += 7300
    assert vault.token(ANN, "okta", Hand(clock)) == "a1"
    assert asked == ["decrypt"] * 2, "a refresh seals under the data key that is open already"


def test_a_changed_value_does_not_open(aws: Emulator, clock: Clock) -> None:
    box = envelope(aws, clock)
    sealed = box.seal("x" * 40, {"a": "b"})
    flipped = ("A" if sealed.value[20] != "A" else "B").join([sealed.value[:20], sealed.value[21:]])
    with pytest.raises(Unreadable):
        box.open(Sealed(sealed.key, flipped), {"a": "b"})


def test_without_a_key_nothing_is_stored(aws: Emulator, clock: Clock) -> None:
    box = Envelope("", client=lambda: client(aws, "kms"), clock=clock)
    with pytest.raises(InvalidSetting, match="KMS_KEY_ID"):
        box.seal("x", {})


def test_what_was_forgotten_is_gone(aws: Emulator, vault: Vault, clock: Clock) -> None:
    allow(vault)
    vault.forget(ANN, "okta")
    assert vault.grants(ANN) == []
    assert "token#okta" not in stored(aws)


def run_python(*arguments: str) -> str:
    ran = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_laptop_opens_after_a_restart_what_it_sealed_before(tmp_path: Path) -> None:
    script = """
import sys, boto3, json
from pathlib import Path
from assistant.dev.emulator import CREDENTIALS, Emulator, KEY, REGION
emulator = Emulator(Path(sys.argv[1])); emulator.start()
kms = boto3.client("kms", endpoint_url=emulator.endpoint, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
if len(sys.argv) == 2:
    print(kms.generate_data_key(KeyId=KEY, KeySpec="AES_256", EncryptionContext={"a": "b"})["CiphertextBlob"].hex())
else:
    print(len(kms.decrypt(CiphertextBlob=bytes.fromhex(sys.argv[2]), EncryptionContext={"a": "b"})["Plaintext"]))
emulator.stop()
"""
    wrapped = run_python(script, str(tmp_path))
    assert run_python(script, str(tmp_path), wrapped) == "32"
    assert (tmp_path / "kms-key.json").stat().st_mode & 0o777 == 0o600
