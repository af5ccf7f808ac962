"""Bring a model of one's own to the GPU endpoint, see what is there, and try any model out.

examples:
  assistant model push ./Qwen3-8B-FP8 --name qwen3-8b-fp8
  assistant model list
  assistant model check openai:qwen3:4b@http://127.0.0.1:11434/v1
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, InvalidSetting

HELP = "models: push weights to the GPU endpoint, list them, check that a model answers"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    push = actions.add_parser("push", help="check a model's folder and upload it; goes on where it broke off")
    push.add_argument("folder", type=Path, metavar="DIR", help="the folder with config.json, tokenizer and *.safetensors")
    push.add_argument("--name", default="default", help="what `gpu_weights` names at deployment (default: default)")
    push.add_argument("--replace", action="store_true", help="remove what lies under that name and does not belong to DIR")
    push.add_argument("--dry-run", action="store_true", help="only check the folder")
    listed = actions.add_parser("list", help="the models in the bucket")
    for action in (push, listed):
        action.add_argument("--bucket", default="", help="where they are kept; else looked up by --stage")
        action.add_argument("--stage", default="dev", help="the deployment whose bucket it is (default: dev)")
        action.add_argument("--region", default=None)
        action.add_argument("--endpoint-url", default=None, help=argparse.SUPPRESS)
    check = actions.add_parser("check", help="ask a model one short question and show its times")
    check.add_argument("spec", metavar="SPEC", help="as in MODEL: openai:MODEL@BASE_URL, sagemaker:ENDPOINT, bedrock:MODEL_ID …")
    check.add_argument("--region", default=None)
    check.add_argument("--question", default="Say hello in one short sentence.")
    check.add_argument("--seconds", type=float, default=60.0, help="longest wait (default: 60)")
    for action in (push, listed, check):
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command."""
    if args.action == "check":
        return _check(args)
    return _push(args) if args.action == "push" else _list(args)


def _push(args: argparse.Namespace) -> int:
    from assistant.dev import weights

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,62}", args.name):
        raise InvalidSetting(f"--name {args.name!r} cannot be used; take letters, digits, dots, dashes, at most 63")
    found = weights.look_through(args.folder)
    about = f"{found.architecture}{f', {found.dtype}' if found.dtype else ''}, {len(found.files)} files, {_size(found.size)}"
    if args.dry_run:
        print(json.dumps({"whole": True, "files": len(found.files), "bytes": found.size}) if args.json else f"whole: {about}")
        return 0
    if not args.json:
        print(f"{args.folder}: {about}")
        if found.ignored:
            print(f"left out, not needed to serve: {', '.join(found.ignored)}")
    s3, bucket = _bucket(args)
    with ExitStack() as stack:
        progress = _progress(stack, found.size) if sys.stderr.isatty() and not args.json else (lambda _file, _bytes: None)
        done = weights.push(found, s3=s3, bucket=bucket, name=args.name, replace=args.replace, progress=progress)
    if args.json:
        print(
            json.dumps(
                {"uri": done.uri, "uploaded": done.uploaded, "skipped": done.skipped, "removed": done.removed, "bytes": done.size}
            )
        )
    else:
        print(f"{done.uploaded} files uploaded, {done.skipped} were there, {done.removed} removed: {done.uri}")
        print(f"next: deploy with -c gpu_profile=PROFILE -c gpu_weights={args.name}, see docs/inference.md")
    return 0


def _list(args: argparse.Namespace) -> int:
    from assistant.dev import weights

    s3, bucket = _bucket(args)
    found = weights.names(s3, bucket)
    if args.json:
        print(json.dumps({"models": [{"name": n, "bytes": size, "whole": whole} for n, size, whole in found]}))
    elif not found:
        print(f"no model in s3://{bucket}/{weights.PREFIX}/; bring one with: assistant model push DIR")
    else:
        for name, size, whole in found:
            print(f"{name:40} {_size(size):>10}{'' if whole else '   not whole: push it again'}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from assistant.llm import ChatMessage, ChatRequest, Done, TextDelta
    from assistant.llm.models import open_model

    region = args.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    model = open_model(args.spec, region=region, api_key=os.environ.get("MODEL_API_KEY"))
    request = ChatRequest(
        system="You answer briefly.",
        messages=(ChatMessage(role="user", text=args.question),),
        max_tokens=200,
        seconds=args.seconds,
    )
    began = time.monotonic()
    text: list[str] = []
    try:
        for event in model.stream(request):
            if isinstance(event, TextDelta):
                text.append(event.text)
            elif isinstance(event, Done):
                return _answered(args, event, "".join(text), time.monotonic() - began)
    except AssistantError as error:
        print(json.dumps({"answers": False, "reason": str(error)}) if args.json else f"no answer: {error}")
        return 1
    print(
        json.dumps({"answers": False, "reason": "it ended without a word"}) if args.json else "no answer: it ended without a word"
    )
    return 1


def _answered(args: argparse.Namespace, done: Any, text: str, seconds: float) -> int:
    writing = seconds - done.first_token_ms / 1000
    rate = done.usage.completion / writing if done.usage.completion > 1 and writing > 0 else 0.0
    if args.json:
        shown = {
            "answers": True,
            "model": done.model,
            "first_token_ms": round(done.first_token_ms),
            "seconds": round(seconds, 3),
            "tokens": done.usage.completion,
            "tokens_per_second": round(rate, 1),
            "text": text,
        }
        print(json.dumps(shown, ensure_ascii=False))
    else:
        print(text.strip())
        print(f"— {done.model}: first token after {done.first_token_ms:,.0f} ms, {done.usage.completion} tokens, {rate:.0f}/s")
    return 0


def _bucket(args: argparse.Namespace) -> tuple[Any, str]:
    """An S3 client and the bucket's name."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    options = {"region_name": args.region, "endpoint_url": args.endpoint_url}
    s3 = boto3.client("s3", **options)
    if args.bucket:
        return s3, args.bucket
    stack = f"assistant-{args.stage}-data"
    try:
        (found,) = boto3.client("cloudformation", **options).describe_stacks(StackName=stack)["Stacks"]
        return s3, next(o["OutputValue"] for o in found["Outputs"] if o["OutputKey"] == "BucketName")
    except (BotoCoreError, ClientError, StopIteration, ValueError) as error:
        raise InvalidSetting(
            f"the bucket of stage {args.stage!r} cannot be found ({type(error).__name__} at stack {stack}); "
            "sign in to the account, give --region and --stage, or name it with --bucket"
        ) from None


def _progress(stack: ExitStack, total: int) -> Callable[[str, int], None]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    shown = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
    task = shown.add_task("uploading", total=total)
    return lambda file, done: shown.update(task, advance=done, description=file[-40:])


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
