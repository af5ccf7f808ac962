"""What a deployment costs in a month and for a million messages, from the same objects that are deployed.

List prices of us-east-1 from 2025, without free tiers; each line names the page where today's price stands. A model endpoint on
GPUs (`-c gpu_profile=…`) needs `--gpu-hour`, the price of one hour of its instance: https://aws.amazon.com/sagemaker/pricing/

examples:
  assistant cost
  assistant cost --profile enterprise --messages 2000000 --turn-seconds 3
  assistant cost -c gpu_profile=48gb-small --gpu-hour 1.41 --json
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from assistant.errors import InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.costs import Line, Use

HELP = "what a deployment costs a month and for a million messages, with sources"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--profile", default="basic", help="basic (default) or enterprise")
    parser.add_argument("--stage", default="production", help="production (default), staging, dev or a name of your own")
    parser.add_argument(
        "--set", "-c", action="append", default=[], metavar="NAME=VALUE", help="a field of the deployment, as for cdk"
    )
    parser.add_argument("--messages", type=int, default=100_000, help="messages a month (default 100000)")
    parser.add_argument("--turn-seconds", type=float, default=2.0, help="work of the dialogue function for one turn (default 2)")
    parser.add_argument("--prompt-tokens", type=int, default=2500)
    parser.add_argument("--completion-tokens", type=int, default=250)
    parser.add_argument(
        "--prompt-price", type=float, default=0, help="US dollars for a million prompt tokens (default 0: built-in)"
    )
    parser.add_argument("--completion-price", type=float, default=0, help="US dollars for a million completion tokens")
    parser.add_argument("--gpu-hour", type=float, default=0, help="US dollars for an hour of the model endpoint's instance")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the estimate."""
    try:
        from infra.costs import PRICES, Use, estimate
        from infra.deployment import Deployment, parse_context
    except ImportError as error:
        raise InvalidSetting("infra/ is not here; run `assistant cost` in a checkout of the project") from error
    given = {"profile": args.profile, "stage": args.stage, **parse_context(args.set)}
    if args.messages < 0:
        raise InvalidSetting(f"--messages {args.messages} is less than none")
    deployment = Deployment.of(given, env=os.environ)
    if deployment.gpu_profile and not args.gpu_hour:
        raise InvalidSetting(
            f"gpu_profile={deployment.gpu_profile!r} runs an endpoint by the hour; give its instance's price with --gpu-hour"
        )
    use = Use(
        messages=args.messages,
        turn_seconds=args.turn_seconds,
        prompt_tokens=args.prompt_tokens,
        completion_tokens=args.completion_tokens,
        prompt_price=args.prompt_price,
        completion_price=args.completion_price,
        gpu_hour=args.gpu_hour,
    )
    lines = estimate(deployment, use)
    fixed = sum(line.dollars for line in lines if not line.per_message)
    growing = sum(line.dollars for line in lines if line.per_message)
    million = growing / use.messages * 1e6 if use.messages else 0.0
    if args.json:
        total = {"fixed": round(fixed, 2), "month": round(fixed + growing, 2), "million_messages": round(million, 2)}
        sources = {name: asdict(price) for name, price in PRICES.items()}
        print(
            json.dumps(
                {
                    "profile": deployment.profile,
                    "messages": use.messages,
                    **total,
                    "lines": [asdict(x) for x in lines],
                    "prices": sources,
                }
            )
        )
        return 0
    _print(lines, use, fixed, growing, million, {name: price.source for name, price in PRICES.items()})
    return 0


def _print(lines: Sequence[Line], use: Use, fixed: float, growing: float, million: float, sources: dict[str, str]) -> None:
    for title, moving in (("every month", False), (f"for {use.messages:,} messages", True)):
        print(f"US dollars {title}")
        for line in lines:
            if line.per_message is moving:
                print(f"  {line.item:20}{line.dollars:10.2f}   {line.why}   {sources.get(line.price, 'the price you gave')}")
    print()
    for name, dollars in (("every month", fixed), ("with the messages", fixed + growing), ("a million messages", million)):
        print(f"{name:22}{dollars:10.2f}")
    print("List prices of us-east-1, 2025, without free tiers; taxes and the model's own price are extra.")
