"""The emulated table answers as DynamoDB does, also where its answer is no plain JSON."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.dev.emulator import REGION, TABLE, Emulator
from assistant.dev.emulator_process import ShortPauses
from assistant.storage import Table


@pytest.fixture
def dynamodb(aws: Emulator) -> Any:  # a client of botocore has no static type
    client = boto3.client(
        "dynamodb", region_name=REGION, endpoint_url=aws.endpoint, aws_access_key_id="x", aws_secret_access_key="x"
    )
    yield client
    client.close()


def test_a_table_is_made_described_listed_and_deleted(dynamodb: Any) -> None:
    made = dynamodb.create_table(
        TableName="another",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]
    found = dynamodb.describe_table(TableName="another")["Table"]
    assert isinstance(made["CreationDateTime"], datetime)
    assert (found["TableArn"], found["CreationDateTime"]) == (made["TableArn"], made["CreationDateTime"])
    assert "another" in dynamodb.list_tables()["TableNames"]
    assert dynamodb.describe_time_to_live(TableName="another")["TimeToLiveDescription"]
    assert dynamodb.delete_table(TableName="another")["TableDescription"]["TableName"] == "another"
    assert "another" not in dynamodb.list_tables()["TableNames"]
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_table(TableName="another")


@pytest.mark.parametrize("name", ["B", "BS", "N", "M", "L", "NULL"])
@pytest.mark.parametrize(
    "value",
    [
        {"B": b"\xff\x00"},
        {"BS": [b"\xff", b"\x00"]},
        {"S": "text"},
        {"M": {"BS": {"S": "a"}, "B": {"B": b"b"}}},
        {"L": [{"B": b"c"}]},
    ],
)
def test_an_attribute_of_any_name_and_kind_comes_back_as_it_was(
    aws: Emulator, dynamodb: Any, name: str, value: dict[str, Any]
) -> None:
    table = aws.settings().table_name
    key = {"pk": {"S": "names"}, "sk": {"S": name}}
    dynamodb.put_item(TableName=table, Item={**key, name: value})
    found = dynamodb.get_item(TableName=table, Key=key)["Item"][name]
    if "BS" in value:
        found, value = {"BS": sorted(found["BS"])}, {"BS": sorted(value["BS"])}
    assert found == value
    dynamodb.delete_item(TableName=table, Key=key)


def test_half_a_character_in_a_text_is_stored_as_a_question_mark_wherever_it_stands(dynamodb: Any) -> None:
    table = Table(TABLE, client=dynamodb)
    table.put({"pk": "p\ud800", "sk": "s", "words": "半\udc00个", "count": 1})
    assert table.get("p\ud800", "s") == {"pk": "p?", "sk": "s", "words": "半?个", "count": 1}
    assert table.query("p\ud800") == [table.get("p?", "s")]


CONDITIONS: dict[str, Callable[[str, str], bool]] = {
    "": lambda sk, value: True,
    "begins_with(sk, :v)": lambda sk, value: sk.startswith(value),
    "sk > :v": lambda sk, value: sk > value,
    "sk >= :v": lambda sk, value: sk >= value,
    "sk < :v": lambda sk, value: sk < value,
    "sk <= :v": lambda sk, value: sk <= value,
    "sk = :v": lambda sk, value: sk == value,
    "sk BETWEEN :v AND :w": lambda sk, value: value <= sk <= value + "b",
}
NAMES = st.text("ab#~中\U0001f600", min_size=1, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    written=st.lists(NAMES, max_size=12),
    deleted=st.lists(NAMES, max_size=4),
    condition=st.sampled_from(sorted(CONDITIONS)),
    value=NAMES,
    limit=st.integers(0, 4),
    forward=st.booleans(),
)
def test_a_query_finds_what_fulfils_its_condition_in_order_and_page_by_page(
    aws: Emulator, dynamodb: Any, written: list[str], deleted: list[str], condition: str, value: str, limit: int, forward: bool
) -> None:
    aws.clear()
    for sk in written:
        dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "p"}, "sk": {"S": sk}})
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "another"}, "sk": {"S": "a"}})
    for sk in deleted:
        dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": "p"}, "sk": {"S": sk}})
    values = {":p": {"S": "p"}, ":v": {"S": value}, ":w": {"S": value + "b"}}
    asked = "pk = :p" + (f" AND {condition}" if condition else "")
    request: dict[str, Any] = {
        "KeyConditionExpression": asked,
        "ExpressionAttributeValues": {name: v for name, v in values.items() if name in asked},
        "ScanIndexForward": forward,
    } | ({"Limit": limit} if limit else {})
    found: list[str] = []
    while True:
        page = dynamodb.query(TableName=TABLE, **request)
        assert not limit or len(page["Items"]) <= limit
        found += [item["sk"]["S"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    there = set(written) - set(deleted)
    assert found == sorted((sk for sk in there if CONDITIONS[condition](sk, value)), reverse=not forward)


def test_a_transaction_is_whole_or_nothing_and_keeps_the_order(aws: Emulator, dynamodb: Any) -> None:
    def put(sk: str, **condition: str) -> dict[str, Any]:
        return {"Put": {"TableName": TABLE, "Item": {"pk": {"S": "p"}, "sk": {"S": sk}}, **condition}}

    aws.clear()
    dynamodb.transact_write_items(TransactItems=[put("c"), put("a")])
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=[put("b"), put("c", ConditionExpression="attribute_not_exists(pk)")])
    assert [item["sk"] for item in Table(TABLE, client=dynamodb).query("p", descending=True)] == ["c", "a"]


def test_what_took_long_to_look_through_is_not_looked_through_again() -> None:
    before = gc.get_freeze_count()
    for most, left_alone in ((3600.0, False), (0.0, True)):
        pauses = ShortPauses(most)
        gc.callbacks.append(pauses)
        try:
            gc.collect()
            assert (gc.get_freeze_count() > before) is left_alone
        finally:
            gc.callbacks.remove(pauses)
            gc.unfreeze()


def test_a_caller_that_dies_as_it_writes_leaves_no_word_and_harms_nobody(
    aws: Emulator, dynamodb: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    host, port = aws.endpoint.removeprefix("http://").split(":")
    for target in ("DynamoDB_20120810.PutItem", "AmazonSQS.SendMessage"):
        head = f"POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: {target}\r\ncontent-length: 500\r\n\r\n"
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(head.encode() + b"{")
            caller.shutdown(socket.SHUT_WR)
            assert caller.recv(1000) == b""
    assert dynamodb.describe_table(TableName=TABLE)["Table"]["TableName"] == TABLE
    assert capfd.readouterr() == ("", "")


def test_one_starts_empty_where_another_has_ended() -> None:
    twice = (
        "from assistant.dev.emulator import TABLE, Emulator\n"
        "for _ in range(2):\n"
        "    aws = Emulator()\n"
        "    aws.start()\n"
        "    assert not list(aws._backends['dynamodb'].tables[TABLE].all_items())\n"
        "    item = {'pk': {'S': 'p'}, 'sk': {'S': 's'}}\n"
        "    aws._backends['dynamodb'].put_item(TABLE, item)\n"
        "    aws.stop()\n"
    )
    subprocess.run([sys.executable, "-c", twice], check=True, timeout=60)
