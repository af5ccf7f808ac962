"""What the security page names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("item", [*(f"API{n} " for n in range(1, 11)), *(f"LLM{n:02} " for n in range(1, 11))])
def test_each_item_of_the_lists_has_one_row_with_a_test(item: str) -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| {item}")]
    assert "::test_" in row


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/*]+\.py)`", PAGE))))
def test_a_file_that_is_named_exists(path: str) -> None:
    assert list(ROOT.glob(path))
