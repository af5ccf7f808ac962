"""The emulated table answers as DynamoDB does, also where its answer is no plain JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import boto3
import pytest

from assistant.dev.emulator import REGION, TABLE, Emulator
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
