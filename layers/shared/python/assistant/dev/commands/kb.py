"""Pour documents in, look things up, and measure how well they are found."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

HELP = "the knowledge: add, list, show, search, remove, rebuild, versions, rollback, eval, gaps"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    evaluate = actions.add_parser("eval", help="measure recall, rank and time on questions whose passage is known")
    evaluate.add_argument("--passages", type=Path, required=True, help='JSON Lines of {"id","title","text"}')
    evaluate.add_argument("--questions", type=Path, required=True, help='JSON Lines of {"question","passage"}')
    evaluate.add_argument("--halves", action="store_true", help="also report the tuning half and the test half apart")
    evaluate.add_argument(
        "--unanswerable", action="store_true", help="also leave each topic out in turn and count the answers given all the same"
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command."""
    return _eval(args)


def _eval(args: argparse.Namespace) -> int:
    from assistant.knowledge import evaluation

    documents = evaluation.read_passages(args.passages)
    questions = evaluation.read_questions(args.questions)
    result: dict[str, object] = {"passages": len(documents), **asdict(evaluation.evaluate(documents, questions))}
    if args.halves:
        for half, name in enumerate(("tuning", "test")):
            part = [q for q in questions if _half(q.text) == half]
            result[f"{name}_half"] = asdict(evaluation.evaluate(documents, part)) if part else None
    if args.unanswerable:
        result["unanswerable"] = asdict(evaluation.honesty(documents, questions))
    if args.json:
        print(json.dumps(result))
    else:
        _show(result)
    return 0


def _half(text: str) -> int:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] % 2


def _show(result: dict[str, object], indent: str = "") -> None:
    names = {"recall_at_1": "recall@1", "recall_at_5": "recall@5", "mrr_at_10": "MRR@10", "ms_per_question": "ms per question"}
    for key, value in result.items():
        label = names.get(key, key.replace("_", " "))
        if isinstance(value, dict):
            print(f"{indent}{label}:")
            _show(value, indent + "  ")
        else:
            print(f"{indent}{label:<30} {value}")
