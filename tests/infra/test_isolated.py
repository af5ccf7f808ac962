"""An isolated plug-in as it is deployed: a function and a role of its own, which reach what the manifest names and no more."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import app as application
from assistant.dev.commands.plugin import isolate
from assistant.errors import InvalidSetting
from infra.bundle import Bundle
from infra.deployment import Deployment
from infra.isolated import Apart, apart, name_of
from tests.infra import roles
from tests.infra.conftest import CONTEXTS, Assembly

SOURCE = """
from assistant import BotPlugin, Permissions, tool

class {cls}(BotPlugin):
    '''By somebody outside.'''
    name = "{name}"
    megabytes = 128
    permissions = Permissions(store={store}, secrets=("api_key",), tokens={{"okta": ("mail.read",)}})

    @tool(seconds=30)
    def look(self, place: str) -> str:
        '''Look somewhere'''
        return place
"""


@pytest.fixture(scope="module")
def with_two(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle with two isolated plug-ins in it."""
    root = tmp_path_factory.mktemp("bundle")
    shutil.copytree(bundle.root / "layers" / "plugins", root / "layers" / "plugins")
    for name in ("dependencies", "boto3", "shared"):
        (root / "layers" / name).symlink_to(bundle.layer(name))
    (root / "functions").symlink_to(bundle.root / "functions")
    for name, store in (("parcels", True), ("weather", False)):
        file = root / f"{name}.py"
        file.write_text(SOURCE.format(cls=name.title(), name=name, store=store), "utf-8")
        isolate(file, root / "layers" / "plugins" / "python" / "assistant_plugins")
    return Bundle(root=root, compiled=bundle.compiled)


@pytest.fixture(scope="module")
def made(with_two: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    folder = tmp_path_factory.mktemp("isolated")
    app = application.application(outdir=str(folder), context=CONTEXTS["basic"])
    application.compose(app, application.described(app), with_two)
    app.synth()  # what the security review finds and nobody accepted fails here
    return Assembly(folder)


def functions(made: Assembly) -> Mapping[str, Mapping[str, Any]]:
    return {f["FunctionName"]: f for f in made.resources("AWS::Lambda::Function") if "FunctionName" in f}


def test_each_has_a_function_with_its_limits_and_little_in_its_environment(made: Assembly) -> None:
    found = functions(made)
    parcels, weather = found["assistant-dev-plugin-parcels"], found["assistant-dev-plugin-weather"]
    assert (parcels["Handler"], parcels["MemorySize"], parcels["Timeout"]) == ("plugin.lambda_handler", 320, 40)
    assert parcels["Environment"]["Variables"]["PLUGIN"] == "parcels"
    assert set(parcels["Environment"]["Variables"]) == {"PLUGIN", "TABLE_NAME"}
    assert weather["Environment"]["Variables"] == {"PLUGIN": "weather", "TABLE_NAME": ""}
    assert "VpcConfig" not in parcels
    assert found["assistant-dev-dialogue"]["Environment"]["Variables"]["PLUGIN_FUNCTIONS"] == "assistant-dev-plugin-"
    assert "PLUGIN_FUNCTIONS" not in parcels["Environment"]["Variables"]


def test_its_role_reaches_its_own_room_of_the_table_and_nothing_else(made: Assembly) -> None:
    found = roles.roles(made.templates())
    [parcels] = [actions for owner, actions in found.items() if "Plugin-Parcels" in owner]
    [weather] = [actions for owner, actions in found.items() if "Plugin-Weather" in owner]
    always = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    assert set(weather) == always
    table = {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"}
    keys = {"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"}
    assert set(parcels) == always | table | keys
    for action in table:
        [place] = parcels[action]
        assert '"dynamodb:LeadingKeys": ["X#default#parcels"]' in place
    for action in keys:
        assert all(place.endswith("through dynamodb") for place in parcels[action])


def test_only_the_dialogue_and_the_api_may_call_it(made: Assembly) -> None:
    found = roles.roles(made.templates())
    callers = {owner.split("/")[0] for owner, actions in found.items() if "lambda:InvokeFunction" in actions}
    assert {"DialogueFunction", "ApiFunction"} <= callers
    assert not {"WebhookFunction", "OauthFunction", "IngestFunction"} & callers


def test_without_isolated_plugins_there_is_nothing_of_it(bundle: Bundle) -> None:
    assert apart(bundle) == []


@pytest.mark.parametrize("data", [{}, {"name": "x", "seconds": "soon"}, {"name": "x", "seconds": 1, "megabytes": 1}])
def test_a_manifest_that_is_none_is_named(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="assistant plugin isolate"):
        Apart.of(data)


def test_a_name_that_lambda_would_refuse_is_refused_before() -> None:
    deployment = Deployment.of({"stage": "a-stage-of-20-letter"}, env={})
    plugin = Apart(name="p" * 26, seconds=1, megabytes=64, store=False)
    assert name_of(deployment, plugin) == f"plugin-{'p' * 26}"
    with pytest.raises(InvalidSetting, match="longer than the 64 characters"):
        name_of(deployment, replace(plugin, name="p" * 27))
