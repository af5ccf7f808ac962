"""The one table, and the bucket. Plain values in, plain values out; every item is found by a query that is written down here.

| item | pk | sk | read by |
|---|---|---|---|
| turn | `C#tenant#platform#topic` | `turn#<sent_at ms>#<dedup id>` | newest turns of a conversation, descending |
| conversation facts (summary, settings) | same | `~about` | the same query: `~` sorts after every turn |
| proof of a signature | `P#platform#<signature>` | `proof` | conditional put |
| a person's token at a provider | `U#tenant#platform#user` | `token#<provider>` | get; all of one person by query |
| a request that waits for a person's consent | same | `wait#<provider>#<ticket>` | query of one person and provider |
| the ticket of such a request | `Q#<ticket>` | `ask`, and `used#<state>` for each call-back | get, conditional put |
| the key that signs states, sealed | `SYSTEM#tenant` | `state-key` | get, once a process |
| quarantine and settings of plug-ins | `SYSTEM#tenant` | `rollout!plugins` | the query that reads the roll-out |
| a plug-in's configuration | `SYSTEM#tenant` | `plugin#<name>` | get, where its edition has changed |
| a side effect that a person approved | `W#<approval>` | `act` | conditional put |
| an API key, its secret as a digest | `KEY#tenant` | its id | query of all, once in 30 s |
| requests with a key in one minute | `R#tenant#key` | the minute | counted up, never read |
| an administrative act | `AUDIT#tenant#<month>` | `<ms>#<id>`, `…#end` | newest of a month, descending |
| where a person wrote | `Y#platform#user` | `in#tenant#<digest>` | all of one person by query, to export or erase |
| what a person wants remembered | `U#tenant#platform#user` | `facts` | get, at most once in 60 s |
| what a person, a ring has spent on a day | same; `SPENT#tenant#ring` | `spent#<day>`; the day | get; counted up |
| a case of somebody who asked for a person | `H#platform#chat` | `case#<reference>`, `at#<id>` | get, from either side |
| a form that was left open | `DUE#<shard>` | `<second>#<turn>` | what is due, by query, on a schedule |
| anything cached across instances | `K#<key>` | `cache` | get |

Scalars are attributes of their own where a condition reads them; everything else is one JSON string in `body`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

from assistant.errors import AssistantError, Unavailable

if TYPE_CHECKING:
    from botocore.client import BaseClient

SCHEMA: Final[Mapping[str, Any]] = {
    "partition_key": "pk",
    "sort_key": "sk",
    "ttl": "expires",
    "indexes": (),
}
"""The table's shape, read by the infrastructure and by the local runner."""

Value: TypeAlias = "str | int | float | bool | bytes | None"
Item: TypeAlias = Mapping[str, Value]


class Conflict(AssistantError):
    """A conditional write found something else in the table; `item` is what stands there now (empty: nothing)."""

    def __init__(self, reason: str, item: Item | None = None) -> None:
        super().__init__(reason)
        self.item: Item = item or {}


def key(*parts: str) -> str:
    """Joins `parts` with `#` so that no two different lists give the same key; separators inside a part are escaped."""
    return "#".join(quote(p.encode("utf-8", "replace"), safe=" !$'()*,:;=@~./+-_") for p in parts)


_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "InternalServerError",
        "ServiceUnavailable", "TransactionConflictException", "TransactionInProgressException", "SlowDown", "InternalError",
    }
)  # fmt: skip


class Table:
    """The DynamoDB table. Raises Conflict for a failed condition and Unavailable when it does not answer."""

    def __init__(self, name: str, *, client: BaseClient) -> None:
        self.name = name
        self._client = client

    def get(self, pk: str, sk: str, *, consistent: bool = True) -> Item | None:
        """The item under the key, or None where there is none (an expired one counts as none once it is deleted)."""
        found = self._call("get_item", Key=_pack({"pk": pk, "sk": sk}), ConsistentRead=consistent)
        return _unpack(found["Item"]) if "Item" in found else None

    def put(self, item: Item, *, condition: str = "", values: Item | None = None) -> None:
        """Writes `item` where `condition` holds. `#name` in it is an attribute, `:name` a key of `values`."""
        self._call("put_item", Item=_pack(item), **_condition(condition, values))

    def update(
        self,
        pk: str,
        sk: str,
        changes: Item,
        *,
        condition: str = "",
        values: Item | None = None,
        add: Mapping[str, int] | None = None,
    ) -> Item:
        """Sets `changes` (None removes), adds the numbers in `add`, and gives the whole item as it is afterwards."""
        names = {f"#{k}": k for k in [*changes, *(add or {})]}
        packed = {f":set_{k}": v for k, v in changes.items() if v is not None} | {f":add_{k}": v for k, v in (add or {}).items()}
        parts = []
        if sets := [f"#{k} = :set_{k}" for k, v in changes.items() if v is not None]:
            parts.append("SET " + ", ".join(sets))
        if removes := [f"#{k}" for k, v in changes.items() if v is None]:
            parts.append("REMOVE " + ", ".join(removes))
        if adds := [f"#{k} :add_{k}" for k in add or {}]:
            parts.append("ADD " + ", ".join(adds))
        request = _condition(condition, values)
        request["ExpressionAttributeNames"] = names | request.get("ExpressionAttributeNames", {})
        if every := _pack(packed) | request.get("ExpressionAttributeValues", {}):
            request["ExpressionAttributeValues"] = every
        result = self._call(
            "update_item",
            Key=_pack({"pk": pk, "sk": sk}),
            UpdateExpression=" ".join(parts),
            ReturnValues="ALL_NEW",
            **request,
        )
        return _unpack(result.get("Attributes", {}))

    def query(
        self,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        before: str = "",
        limit: int = 0,
        descending: bool = False,
        consistent: bool = True,
    ) -> Sequence[Item]:
        """Items of one partition in sort-key order: those that start with `prefix`, stand after `after` or before `before`."""
        condition, values = "#pk = :pk", {"pk": pk}
        if prefix:
            condition, values = condition + " AND begins_with(#sk, :sk)", values | {"sk": prefix}
        elif after or before:
            condition, values = condition + f" AND #sk {'>' if after else '<'} :sk", values | {"sk": after or before}
        request: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#pk": "pk"} | ({"#sk": "sk"} if len(values) > 1 else {}),
            "ExpressionAttributeValues": _pack({f":{k}": v for k, v in values.items()}),
            "ScanIndexForward": not descending,
            "ConsistentRead": consistent,
        }
        items: list[Item] = []
        while True:
            if limit:
                request["Limit"] = limit - len(items)
            page = self._call("query", **request)
            items += [_unpack(i) for i in page.get("Items", ())]
            if "LastEvaluatedKey" not in page or (limit and len(items) >= limit):
                return items
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def delete(self, pk: str, sk: str) -> None:
        """Removes the item; removing what is not there is no error."""
        self._call("delete_item", Key=_pack({"pk": pk, "sk": sk}))

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            result: dict[str, Any] = getattr(self._client, operation)(TableName=self.name, **request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ConditionalCheckFailedException":
                found: Any = error.response.get("Item", {})  # botocore's type does not know the field
                raise Conflict(f"{operation} on {self.name}: the condition does not hold", _unpack(found)) from error
            if code in _THROTTLED:
                raise Unavailable(f"table {self.name}: {code}") from error
            raise
        except BotoCoreError as error:
            raise Unavailable(f"table {self.name}: {type(error).__name__}") from error
        return result


def _condition(condition: str, values: Item | None) -> dict[str, Any]:
    if not condition:
        return {}
    import re

    names = {n: n[1:] for n in re.findall(r"#\w+", condition)}
    request: dict[str, Any] = {
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if names:
        request["ExpressionAttributeNames"] = names
    if values:
        request["ExpressionAttributeValues"] = _pack({f":{k}": v for k, v in values.items()})
    return request


def _pack(item: Item) -> dict[str, dict[str, Any]]:
    return {k: _typed(v) for k, v in item.items() if v is not None}


def _typed(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": repr(value)}
        case bytes():
            return {"B": value}
        case str():  # half a character, which JSON can name, is none in UTF-8, and DynamoDB refuses it
            return {"S": value if value.isascii() else value.encode("utf-8", "replace").decode()}
        case _:
            return {"S": value}


def _unpack(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Value]:
    return {k: _value(*next(iter(v.items()))) for k, v in item.items()}


def _value(kind: str, raw: Any) -> Value:
    if kind == "N":
        return float(raw) if "." in raw or "e" in raw.lower() else int(raw)
    if kind == "B":
        return bytes(raw)
    result: Value = raw
    return result


class Bucket:
    """Objects in S3. Raises Unavailable when it does not answer, KeyError for an object that is not there."""

    def __init__(self, name: str, *, client: BaseClient) -> None:
        self.name = name
        self._client = client

    def get(self, path: str) -> bytes:
        """The whole object."""
        result: bytes = self._call("get_object", Key=path)["Body"].read()
        return result

    def put(self, path: str, content: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Writes the object; readers see the old one or the new one, never a part."""
        self._call("put_object", Key=path, Body=content, ContentType=content_type)

    def delete(self, path: str) -> None:
        """Removes the object; removing what is not there is no error."""
        self._call("delete_object", Key=path)

    def purge(self, prefix: str, *, keep: frozenset[str] = frozenset()) -> int:
        """Deletes every version, also those that S3 keeps of what was deleted or replaced, of all paths that start with `prefix`
        and are not in `keep`, and gives how many. Of what is kept, the older versions go.

        Raises Unavailable where one could not be deleted.
        """
        return self._gone([(path, version) for path, version, latest in self._every(prefix) if not (latest and path in keep)])

    def purge_one(self, path: str) -> int:
        """Deletes every version of the object at `path` and of no other, and gives how many. Raises Unavailable."""
        return self._gone([(found, version) for found, version, _ in self._every(path, alone=True)])

    def _gone(self, gone: Sequence[tuple[str, str]]) -> int:
        for start in range(0, len(gone), 1000):
            part = [{"Key": path, "VersionId": version} for path, version in gone[start : start + 1000]]
            answer = self._call("delete_objects", Delete={"Objects": part, "Quiet": True})
            if failed := answer.get("Errors"):
                raise Unavailable(f"bucket {self.name}: {len(failed)} versions could not be deleted: {failed[0].get('Code')}")
        return len(gone)

    def _every(self, prefix: str, *, alone: bool = False) -> Iterable[tuple[str, str, bool]]:
        """Path, version, and whether it is what `get` gives, of everything under `prefix`, deletion marks too. `alone`: of that
        very path, which stands before all that are longer."""
        request: dict[str, Any] = {"Prefix": prefix}
        while True:
            page = self._call("list_object_versions", **request)
            for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if alone and found["Key"] != prefix:
                    continue
                marks = "ETag" not in found
                yield found["Key"], found["VersionId"], bool(found.get("IsLatest")) and not marks
            if not page.get("IsTruncated") or (alone and page["NextKeyMarker"] != prefix):
                return
            request |= {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}

    def list(self, prefix: str) -> Iterable[str]:
        """Paths that start with `prefix`, in order."""
        request: dict[str, Any] = {"Prefix": prefix}
        while True:
            page = self._call("list_objects_v2", **request)
            yield from (o["Key"] for o in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            result: dict[str, Any] = getattr(self._client, operation)(Bucket=self.name, **request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in {"NoSuchKey", "404"}:
                raise KeyError(request.get("Key", "")) from error
            if code in _THROTTLED:
                raise Unavailable(f"bucket {self.name}: {code}") from error
            raise
        except BotoCoreError as error:
            raise Unavailable(f"bucket {self.name}: {type(error).__name__}") from error
        return result
