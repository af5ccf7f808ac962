"""The SDK's layer: descriptions are shortened when it is built, and nothing that a call reads is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.session import Session

from infra.bundle import SERVICES, Bundle

KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}


def data(bundle: Bundle) -> Path:
    return bundle.layer("boto3") / "python" / "botocore" / "data"


def session(folder: Path | None) -> Session:
    made = Session()
    if folder:
        loader = Loader(extra_search_paths=[str(folder)], include_default_search_paths=False)
        made.register_component("data_loader", loader)
    return made


def operations(client: Any) -> dict[str, tuple[Any, ...]]:
    """Of each operation: its way over the wire, and the names and types that go in and come out."""
    model = client.meta.service_model

    def shape(found: Any) -> Any:
        return found and [(name, member.type_name, member.serialization) for name, member in found.members.items()]

    every = {name: model.operation_model(name) for name in model.operation_names}
    return {
        name: (o.http, o.input_shape and o.input_shape.required_members, shape(o.input_shape), shape(o.output_shape))
        for name, o in every.items()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_from_the_layer_calls_as_one_from_the_whole_sdk_does(bundle: Bundle, service: str) -> None:
    for region in ("eu-central-1", "cn-north-1"):
        ours, whole = (session(folder).create_client(service, region_name=region, **KEYS) for folder in (data(bundle), None))
        assert ours.meta.endpoint_url == whole.meta.endpoint_url
    assert operations(ours) == operations(whole)


def test_what_each_cold_start_reads_is_short_and_unpacked(bundle: Bundle) -> None:
    assert not list(data(bundle).rglob("*.gz"))
    assert (data(bundle) / "endpoints.json").stat().st_size < 100_000
    for queue in data(bundle).glob("sqs/*/service-2.json"):
        told = json.loads(queue.read_text())
        assert not told["operations"]["SendMessage"]["documentation"]
        assert queue.stat().st_size < 60_000
