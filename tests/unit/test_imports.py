"""Imports go from a higher floor to a lower one, never back; each exception stands here with its reason."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "layers/shared/python/assistant"

FLOORS = {
    0: {"messages", "errors", "words", "starting"},
    1: {"settings", "observability", "storage", "cache", "valkey", "queue", "secrets", "web", "invoke", "logpipe", "logsearch"},
    2: {
        "platforms",
        "llm",
        "nlu",
        "slots",
        "flows",
        "tools",
        "plugins",
        "sessions",
        "knowledge",
        "oauth",
        "rollout",
        "access",
        "audit",
        "people",
        "zones",
        "memory",
        "budgets",
        "figures",
        "charts",
    },
    3: {
        "intake",
        "dialogue",
        "thinking",
        "answering",
        "busy",
        "silence",
        "doubts",
        "intents",
        "handover",
        "showing",
        "worker",
        "deadletters",
        "console",
        "growing",
        "notices",
        "attachments",
        "files",
        "audience",
        "filing",
        "opinions",
        "acting",
        "summaries",
        "safety",
        "workspaces",
        "installing",
    },
    4: {
        "assembly",
        "parts",
        "api",
        "archive",
        "administration",
        "doors",
        "signin",
        "checkup",
        "doctor",
        "extensions",
        "initialise",
        "openai_door",
        "privacy",
        "promotion",
        "checks",
        "responses",
    },
    5: {"testing", "dev"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}

NEIGHBOURS = {
    ("plugins", "tools"),  # a plug-in declares tools
    ("knowledge", "llm"),  # hybrid search embeds
    ("flows", "nlu"),  # a flow reads what was understood
    ("flows", "slots"),
    ("nlu", "slots"),
}
BOTO3 = {
    "invoke",
    "storage",
    "cache",
    "charts",
    "figures",
    "logpipe",
    "logsearch",
    "valkey",
    "queue",
    "secrets",
    "llm",
    "oauth",
    "dev",
    "parts",
}
"""Rooms that may import boto3; among the parts are the clients."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(HOUSE.rglob("*.py")):
        parts = path.relative_to(HOUSE).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imported(path: Path) -> Iterator[str]:
    """Names that the module imports at run time, wherever in it; what only type checkers read does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names if node.module == "assistant")


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda v: v if isinstance(v, str) else v.stem)
def test_an_import_goes_down_and_never_up(room: str, path: Path) -> None:
    assert room in FLOOR or room in ("locales", "console"), f"{room} stands on no floor: add it to FLOORS"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "assistant" and len(parts) > 1 and parts[1] in FLOOR and parts[1] != room:
            there = parts[1]
            below = FLOOR[there] < FLOOR[room]
            beside = FLOOR[there] == FLOOR[room] and (FLOOR[room] != 2 or (room, there) in NEIGHBOURS)
            assert below or beside, f"{path.relative_to(ROOT)} imports {name}: from floor {FLOOR[room]} to floor {FLOOR[there]}"
        if parts[0] in ("boto3", "botocore"):
            assert room in BOTO3, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "infra").glob("*.py")), ids=lambda p: p.stem)
def test_the_infrastructure_imports_definitions_alone(path: Path) -> None:
    allowed = {
        "assistant.errors",
        "assistant.settings",
        "assistant.observability",
        "assistant.storage",
        "assistant.queue",
        "assistant.platforms",
        "assistant.logsearch",
    }
    found = {n for n in imported(path) if n.startswith("assistant.")}
    assert found <= allowed, f"{path.name} imports {found - allowed}"


@pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*.py")), ids=lambda p: p.stem)
def test_a_function_reads_in_a_minute_and_imports_no_neighbour(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    assert not [n for n in imported(path) if n.startswith("functions")]


HEAVY = (
    "fastapi",
    "pydantic",
    "httpx",
    "mangum",
    "assistant.llm",
    "assistant.dialogue",
    "assistant.knowledge",
    "assistant.words",
    "assistant.assembly",
    "assistant.parts.models",
    "assistant.parts.rollouts",
)


def loaded_by(code: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize("platform", ["webchat", "slack", "feishu", "dingtalk", "wecom", "teams"])
def test_the_webhook_function_loads_one_platform_and_nothing_heavy(platform: str) -> None:
    loaded = loaded_by(
        "import functions.webhook; from assistant.platforms import platform_class\n"
        f"from assistant import intake, queue; platform_class({platform!r})"
    )
    assert not loaded & set(HEAVY)
    others = {"webchat", "slack", "feishu", "dingtalk", "wecom", "teams"} - {platform}
    assert not [m for m in loaded if m.startswith("assistant.platforms.") and m.split(".")[2].split("_")[0] in others]


def test_importing_the_house_makes_no_client_and_reads_no_environment() -> None:
    for room, path in modules():
        if room == "dev":
            continue  # where a process starts
        source = path.read_text(encoding="utf-8")
        assert "os.environ" not in source, f"{path.relative_to(ROOT)} reads the environment"
