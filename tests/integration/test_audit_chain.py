"""The audit log cannot be changed through our doors, and whoever changes it behind them is found out."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from assistant.audit import Audit
from assistant.dev.emulator import Emulator
from assistant.storage import Table
from tests.support.house import House, client


def entries(aws: Emulator) -> list[dict[str, Any]]:
    """The entries as they stand in the table, in their order."""
    found = [i for i in client(aws, "dynamodb").scan(TableName="assistant")["Items"] if i["pk"]["S"].startswith("AUDIT#default#")]
    return sorted(found, key=lambda i: int(i["n"]["N"]))


@pytest.fixture
def audit(aws: Emulator) -> Audit:
    """A log with three acts, six entries."""
    house = House(aws)
    for what in ("add key", "halt", "erase person"):
        with house.assistant.audit.act("k1", what):
            pass
        house.offset += 1
    assert list(house.assistant.audit.verify()) == []
    return house.assistant.audit


def put(aws: Emulator, item: dict[str, Any]) -> None:
    client(aws, "dynamodb").put_item(TableName="assistant", Item=item)


def change(aws: Emulator, n: int, **fields: dict[str, str]) -> None:
    put(aws, entries(aws)[n - 1] | fields)


def remove(aws: Emulator, *numbers: int) -> None:
    for item in [i for i in entries(aws) if int(i["n"]["N"]) in numbers]:
        client(aws, "dynamodb").delete_item(TableName="assistant", Key={k: item[k] for k in ("pk", "sk")})


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda aws: change(aws, 3, who={"S": "k2"}), ["entry 3"]),
        (lambda aws: change(aws, 6, outcome={"S": "refused: NotPermitted"}), ["entry 6"]),
        (lambda aws: change(aws, 1, at={"N": "1700000000000"}), ["entry 1"]),
        (lambda aws: remove(aws, 2), ["entry 2 is missing"]),
        (lambda aws: remove(aws, 4, 5), ["entry 4 is missing", "entry 5 is missing"]),
        (lambda aws: put(aws, entries(aws)[5] | {"sk": {"S": "9999999999999#x"}, "n": {"N": "7"}}), ["entry 7 is newer"]),
        (
            lambda aws: put(aws, {k: v for k, v in entries(aws)[5].items() if k != "n"} | {"sk": {"S": "9999999999999#x"}}),
            ["it was put in"],
        ),
    ],
    ids=["who", "outcome", "when", "taken out", "two taken out", "put behind", "put in"],
)
def test_whatever_is_changed_taken_out_or_put_in_is_named(
    aws: Emulator, audit: Audit, tamper: Callable[[Emulator], object], named: list[str]
) -> None:
    tamper(aws)
    wrong = "\n".join(audit.verify())
    for one in named:
        assert one in wrong


def test_the_newest_entry_cannot_be_taken_out_unseen(aws: Emulator, audit: Audit) -> None:
    gone = entries(aws)[5]
    remove(aws, 6)
    assert list(audit.verify()) == [], "the head still has it"
    with audit.act("k1", "later"):
        pass
    assert entries(aws)[5] == gone, "and puts it back"
    assert list(audit.verify()) == []


def test_a_process_that_ends_between_head_and_entry_loses_none(aws: Emulator) -> None:
    house = House(aws)
    left = [3]

    class Dying(Table):
        """A table whose process ends in the middle of an act."""

        def put(self, item: Any, **more: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("the process ends here")
            super().put(item, **more)

    dying = Audit(Dying("assistant", client=house.assistant.client("dynamodb")), clock=house.now)
    with pytest.raises(RuntimeError), dying.act("k1", "one"):
        pass
    with house.assistant.audit.act("k1", "two"):
        pass
    assert list(house.assistant.audit.verify()) == []
    assert [e["what"]["S"] for e in entries(aws)].count("two") == 2


def test_many_at_once_make_one_chain(aws: Emulator) -> None:
    house = House(aws)
    logs = [house.another().audit for _ in range(4)]

    def act(n: int) -> None:
        with logs[n % 4].act(f"k{n}", "act"):
            pass

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(act, range(12)))
    assert [int(e["n"]["N"]) for e in entries(aws)] == list(range(1, 25))
    assert list(house.assistant.audit.verify()) == []


def test_entries_from_before_the_chain_are_no_tampering(aws: Emulator) -> None:
    house = House(aws)
    month = time.strftime("%Y-%m", time.gmtime(house.now() - 9))
    house.assistant.table.put(
        {
            "pk": f"AUDIT#default#{month}",
            "sk": "1#old",
            "who": "k",
            "what": "old",
            "outcome": "done",
            "at": int(house.now() * 1000) - 9000,
        }
    )
    with house.assistant.audit.act("k1", "new"):
        pass
    assert list(house.assistant.audit.verify()) == []
    assert [a.what for a in house.assistant.audit.list()] == ["new", "old"]
