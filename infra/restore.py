"""Copies back into the table what a restored copy of it has and it lacks: `python -m infra.restore --stage STAGE`.

Point-in-time recovery writes into a new table. The stack goes on with its own, whose logical id is fixed, so what was lost is
copied back item by item, each only where nothing stands by now: what was written since the accident is never overwritten.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from assistant.storage import SCHEMA
from infra.deployment import Deployment


def copy_back(client: Any, *, source: str, target: str, under: str = "") -> tuple[int, int]:
    """Copies the items of the table `source` whose partition key starts with `under` to `target`; how many were copied and kept.

    `client`: DynamoDB's, whose class boto3 makes while running.
    """
    copied = kept = 0
    partition = SCHEMA["partition_key"]
    for page in client.get_paginator("scan").paginate(TableName=source, ConsistentRead=True):
        for item in page["Items"]:
            if not item[partition]["S"].startswith(under):
                continue
            try:
                client.put_item(
                    TableName=target,
                    Item=item,
                    ConditionExpression="attribute_not_exists(#pk)",
                    ExpressionAttributeNames={"#pk": partition},
                )
                copied += 1
            except client.exceptions.ConditionalCheckFailedException:
                kept += 1
    return copied, kept


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: done; 1: a table is not there."""
    parser = argparse.ArgumentParser(prog="python -m infra.restore", description=__doc__)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--source", default="", help="the restored table (default: assistant-STAGE-restored)")
    parser.add_argument("--under", default="", help="only items whose partition key starts with this, as C#TENANT#slack#")
    args = parser.parse_args(argv)
    import boto3

    prefix = Deployment(stage=args.stage).prefix
    cloud, table = boto3.client("cloudformation"), boto3.client("dynamodb")
    outputs = cloud.describe_stacks(StackName=f"{prefix}-data")["Stacks"][0]["Outputs"]
    target = next(o["OutputValue"] for o in outputs if o["OutputKey"] == "TableName")
    source = args.source or f"{prefix}-restored"
    try:
        copied, kept = copy_back(table, source=source, target=target, under=args.under)
    except table.exceptions.ResourceNotFoundException:
        sys.stderr.write(f"there is no table {source} yet → aws dynamodb wait table-exists --table-name {source}\n")
        return 1
    sys.stdout.write(f"{copied} items copied from {source} to {target}, {kept} were there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
