"""A deployment whose first run is not good fails as a whole, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.cloud import Account
from tests.infra.conftest import Assembly


def test_a_failed_initialisation_fails_the_deployment(assembly: Callable[[str], Assembly], tmp_path: Path) -> None:
    with Account(tmp_path, third_party=[]) as account:  # functions that lack their packages
        with pytest.raises(AssertionError) as caught:
            account.deploy(assembly("basic").folder)
        assert "assistant-dev-runtime failed to deploy" in str(caught.value)
        assert "ModuleNotFoundError" in str(caught.value)
        stacks = account.aws.client("cloudformation").describe_stacks()["Stacks"]
        good = {s["StackName"] for s in stacks if s["StackStatus"] == "CREATE_COMPLETE"}
        assert "assistant-dev-data" in good
        assert not good & {"assistant-dev-runtime", "assistant-dev-observability"}
