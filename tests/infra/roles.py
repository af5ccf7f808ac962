"""What each role may do, read from synthesised templates in words that do not change with generated ids.

`python -m tests.infra.roles` writes the golden table again after a change that was meant; review its diff like code.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("roles.json")
Roles = dict[str, dict[str, list[str]]]


def reader(templates: Mapping[str, Mapping[str, Any]], stack: str) -> Callable[[Any], str]:
    """Turns a value in the template of `stack` into one line a person can read."""
    exports = _exports(templates)
    return lambda value: _text(value, stack, templates, exports)


def roles(templates: Mapping[str, Mapping[str, Any]]) -> Roles:
    """For each role: each action with the resources it is allowed on."""
    found: Roles = {}
    exports = _exports(templates)
    for stack, template in templates.items():
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::IAM::Policy":
                owners = [_name(stack, r["Ref"], templates) for r in resource["Properties"]["Roles"]]
                documents = [resource["Properties"]["PolicyDocument"]]
            elif resource["Type"] == "AWS::IAM::Role":
                owners = [_path(resource)]
                documents = [p["PolicyDocument"] for p in resource["Properties"].get("Policies", ())]
                for policy in resource["Properties"].get("ManagedPolicyArns", ()):
                    found.setdefault(owners[0], {})[f"managed {_text(policy, stack, templates, exports)}"] = []
            else:
                continue
            for owner in owners:
                table = found.setdefault(owner, {})
                for statement in (s for d in documents for s in d["Statement"]):
                    assert statement["Effect"] == "Allow", f"{owner}: a statement that is no Allow must be read by a person"
                    condition = _text(statement["Condition"], stack, templates, exports) if "Condition" in statement else ""
                    for action in _list(statement["Action"]):
                        places = [_text(r, stack, templates, exports) + condition for r in _list(statement["Resource"])]
                        table[action] = sorted({*table.get(action, []), *places})
    return {owner: dict(sorted(actions.items())) for owner, actions in sorted(found.items())}


def _exports(templates: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, Any]]:
    return {
        out["Export"]["Name"]: (name, out["Value"])
        for name, template in templates.items()
        for out in template.get("Outputs", {}).values()
        if "Export" in out
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _path(resource: Mapping[str, Any]) -> str:
    path: str = resource["Metadata"]["aws:cdk:path"]
    return path.split("/", 1)[1].removesuffix("/Resource")


def _name(stack: str, logical_id: str, templates: Mapping[str, Mapping[str, Any]]) -> str:
    if logical_id.startswith("AWS::"):
        return f"<{logical_id.removeprefix('AWS::')}>"
    resource = templates[stack]["Resources"].get(logical_id)
    return _path(resource) if resource else logical_id


def _text(value: Any, stack: str, templates: Mapping[str, Mapping[str, Any]], exports: Mapping[str, tuple[str, Any]]) -> str:
    """A template's value as one line a person can read."""

    def again(part: Any) -> str:
        return _text(part, stack, templates, exports)

    match value:
        case {"Ref": name}:
            return _name(stack, name, templates)
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{_name(stack, name, templates)}.{attribute}"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(again(p) for p in parts)
        case {"Fn::ImportValue": name}:
            origin, out = exports[name]
            return _text(out, origin, templates, exports)
        case {"StringEquals": {"kms:ViaService": service}}:
            return f" through {again(service).split('.')[0]}"
        case dict():
            return json.dumps(value, sort_keys=True)
        case _:
            return str(value)


def main() -> None:
    """Writes the golden table from what the code synthesises now."""
    import os

    from infra import bundle as bundles
    from infra import node

    node.choose(os.environ)
    import app as application  # starts the bridge to Node
    from tests.infra.conftest import CONTEXTS

    golden = {}
    for profile, context in CONTEXTS.items():
        with tempfile.TemporaryDirectory() as folder:
            app = application.application(outdir=folder, context=context)
            application.compose(app, application.described(app, configurations=None), bundles.build(source=bundles.ROOT))
            app.synth()
            templates = {p.name: json.loads(p.read_text()) for p in Path(folder).glob("*.template.json")}
        golden[profile] = roles(templates)
    GOLDEN.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{GOLDEN} written: {sum(len(r) for r in golden.values())} roles\n")


if __name__ == "__main__":
    main()
