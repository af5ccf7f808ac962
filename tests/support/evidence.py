"""What there was when a promise was found broken: what is random and comes once in a thousand times is not seen a second time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant.dev.emulator import Emulator
from tests.support.house import client
from tests.support.town import Town, Word

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "broken"


def items(aws: Emulator) -> list[dict[str, Any]]:
    """Everything in the table, as DynamoDB writes it."""
    pages = client(aws, "dynamodb").get_paginator("scan").paginate(TableName="assistant")
    return [item for page in pages for item in page["Items"]]


def keep(town: Town, *, seed: str, broken: str, folder: Path = FOLDER) -> str:
    """Writes down the words with their times, each chat of a word that is lost or said twice, what the vendors were asked and
    what they dropped, the queues and the table; gives the file."""
    house = town.house
    sqs, queues = client(house.aws, "sqs"), {}
    for name, url in (("turns", house.settings.turns_queue_url), ("dead letters", house.settings.dead_letters_url)):
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, AttributeNames=["All"])
        queues[name] = found.get("Messages", [])
    told = {
        "seed": seed,
        "broken": broken,
        "words": [_word(word) for word in town.words],
        "chats": {str(word): word.at[0].seen(word.at[1]) for word in (*town.lost(), *town.twice())},
        "asked": {name: _asked(vendor.calls) for name, vendor in _vendors(town)},
        "dropped": {name: vendor.dropped for name, vendor in _vendors(town)},
        "queues": queues,
        "table": items(house.aws),
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (re.sub(r"\W+", "-", seed) + ".json")
    file.write_text(json.dumps(told, ensure_ascii=False, indent=1, default=repr), encoding="utf-8")
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def _vendors(town: Town) -> list[tuple[str, Any]]:
    return list(zip([name for name in town.names if name != "webchat"], town.vendors(), strict=True))


def _word(word: Word) -> dict[str, Any]:
    times = {"wrote": word.wrote, "accepted": word.accepted, "seen": word.seen}
    return {"promise": str(word), "given up": word.given_up, **times}


def _asked(calls: Sequence[Any]) -> list[str]:
    return [f"{call.method} {call.path} {call.body.decode('utf-8', 'replace')}" for call in calls]
