"""`assistant nlu`: train an intent model from examples, ask it, and measure it.

examples:
  assistant nlu train --train examples.jsonl --save intents.bin
  assistant nlu ask --model intents.bin "book a room for tomorrow"
  assistant nlu eval --train examples.jsonl --test held-out.jsonl --json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time

from assistant.errors import InvalidSetting
from assistant.nlu import Understander, train
from assistant.nlu.evaluation import Report, evaluate, plot

HELP = "train, ask and measure the intent classifier"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands and their options to `parser`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    measure = actions.add_parser("eval", help="train on some examples, measure on others")
    measure.add_argument(
        "--train", type=Path, action="append", default=[], metavar="FILE", help="JSON Lines with text and intent; repeatable"
    )
    measure.add_argument("--model", type=Path, metavar="FILE", help="measure this saved model instead of training one")
    measure.add_argument("--test", type=Path, required=True, metavar="FILE", help="JSON Lines with text and intent")
    measure.add_argument("--save", type=Path, metavar="FILE", help="keep the trained model here")
    measure.add_argument("--plot", type=Path, metavar="FILE", help="draw accuracy against rejection as SVG")
    measure.add_argument("--json", action="store_true", help="print one JSON object")
    learn = actions.add_parser("train", help="train a model and save it")
    learn.add_argument(
        "--train", type=Path, action="append", required=True, metavar="FILE", help="JSON Lines with text and intent"
    )
    learn.add_argument("--save", type=Path, required=True, metavar="FILE", help="where the model goes")
    learn.add_argument("--json", action="store_true", help="print one JSON object")
    ask = actions.add_parser("ask", help="what a saved model makes of a text")
    ask.add_argument("--model", type=Path, required=True, metavar="FILE")
    ask.add_argument("text", nargs="+")
    ask.add_argument("--json", action="store_true", help="print one JSON object for each text")


def run(args: argparse.Namespace) -> int:
    """0 when done; wrong files are refused with InvalidSetting."""
    if args.action == "train":
        return _train(args)
    if args.action == "ask":
        return _ask(args)
    return _eval(args)


def read_examples(path: Path) -> list[tuple[str, str]]:
    """The `(text, intent)` pairs of a JSON Lines file; raises InvalidSetting with the line that is wrong."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path} cannot be read: {error}") from error
    examples: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidSetting(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not isinstance(row.get("intent"), str):
            raise InvalidSetting(f'{path}:{number} needs {{"text": "…", "intent": "…"}}')
        examples.append((row["text"], row["intent"]))
    if not examples:
        raise InvalidSetting(f"{path} holds no examples")
    return examples


def _learned(paths: Sequence[Path]) -> tuple[Understander, float]:
    """The understander and the seconds of processor time it took, which do not depend on what else the machine does."""
    examples = [example for path in paths for example in read_examples(path)]
    began = process_time()
    return train(examples), process_time() - began


def _train(args: argparse.Namespace) -> int:
    understander, seconds = _learned(args.train)
    understander.save(args.save)
    facts = {"intents": len(understander.intents), "cpu_seconds": round(seconds, 1), "bytes": args.save.stat().st_size}
    print(
        json.dumps(facts)
        if args.json
        else f"{facts['intents']} intents learned in {seconds:.1f} s of processor time → {args.save} ({facts['bytes']:,} bytes)"
    )
    return 0


def _ask(args: argparse.Namespace) -> int:
    understander = Understander.load(args.model)
    for text in args.text:
        answer = understander.understand(text)
        if args.json:
            known = {"text": text, "intent": answer.intent, "confidence": answer.confidence, "alternatives": answer.alternatives}
            print(json.dumps(known, ensure_ascii=False))
        else:
            print(f"{answer.intent or '(none of these)'}  {answer.confidence:.1%}  {text}")
    return 0


def _eval(args: argparse.Namespace) -> int:
    if bool(args.train) == bool(args.model):
        raise InvalidSetting("give either --train FILE (one or more) or --model FILE")
    test = read_examples(args.test)
    seconds = 0.0
    if args.model:
        understander = Understander.load(args.model)
    else:
        understander, seconds = _learned(args.train)
    artefact = understander.to_bytes()
    began = perf_counter()
    understander = Understander.from_bytes(artefact)  # what is measured is what is deployed
    load_ms = 1000 * (perf_counter() - began)
    report = evaluate(understander, test)
    if args.save:
        args.save.write_bytes(artefact)
    if args.plot:
        args.plot.write_text(plot(report), "utf-8")
    if args.json:
        facts = {"train_cpu_seconds": round(seconds, 2), "model_bytes": len(artefact), "load_ms": round(load_ms, 2)}
        print(json.dumps({**report.to_json(), **facts}, ensure_ascii=False))
    else:
        _show(report, seconds=seconds, size=len(artefact), load_ms=load_ms)
    return 0


def _show(report: Report, *, seconds: float, size: int, load_ms: float) -> None:
    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    print(f"in scope      {report.in_scope:>6} texts   accuracy {percent(report.accuracy_in_scope)}", end="")
    print(f"   (nothing rejected: {percent(report.accuracy_before_rejection)})")
    print(f"out of scope  {report.out_of_scope:>6} texts   recall {percent(report.out_of_scope_recall)}", end="")
    print(f"   precision {percent(report.out_of_scope_precision)}   F1 {percent(report.out_of_scope_f1)}")
    print(f"threshold {report.threshold:.3f}   calibration error {percent(report.calibration_error)}")
    print(f"trained in {seconds:.1f} s of processor time   model {size:,} bytes   loaded in {load_ms:.0f} ms", end="")
    print(f"   {report.ms_per_utterance:.2f} ms a text")
    print("\nmost frequent confusions")
    for c in report.confusion:
        print(f"{c.count:>5}  {c.intent} → {c.taken_for or '(none of these)'}   e.g. {c.example[:80]}")
