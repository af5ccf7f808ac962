"""Plays the HTTP API behind the chat page: takes messages, lets answers grow, keeps turns, and counts what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.console import page
from assistant.errors import InvalidSetting, Refused
from assistant.knowledge.service import Service, answer
from assistant.knowledge.versions import Folder, Versions
from assistant.rollout import Rollouts
from tests.simulators.base import Answer, Call, Simulator, route

KEY = "test-key-0123456789"


@dataclass
class FakeTurn:
    """A turn as the API shows it; `steps` are the texts that are still to come, one for each time somebody looks."""

    id: str
    cursor: str
    at: int
    user: str
    question: str
    steps: list[str] = field(default_factory=list)
    text: str = ""
    outcome: str = "sent"
    sources: Sequence[dict[str, Any]] = ()
    buttons: Sequence[dict[str, Any]] = ()
    files: Sequence[dict[str, Any]] = ()
    attached: Sequence[str] = ()
    hold: bool = False

    def look(self) -> dict[str, Any]:
        """What the page sees now; the answer grows by one step."""
        if self.steps and not self.hold:
            self.text = self.steps.pop(0)
        open_ = bool(self.steps) or self.hold
        return {
            "id": self.id,
            "cursor": self.cursor,
            "at": self.at,
            "user": self.user,
            "question": self.question,
            "attached": list(self.attached),
            "state": "answering" if open_ else self.outcome,
            "text": self.text,
            "sources": [] if open_ else list(self.sources),
            "buttons": [] if open_ else list(self.buttons),
            "files": [] if open_ else list(self.files),
        }


class Shelf:
    """A table in memory, as far as the rings use one."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Mapping[str, Any]] = {}

    def get(self, pk: str, sk: str, *, consistent: bool = True) -> Mapping[str, Any] | None:
        """The item, or None."""
        return self._items.get((pk, sk))

    def put(self, item: Mapping[str, Any], *, condition: str = "", values: Mapping[str, Any] | None = None) -> None:
        """Keeps the item; nobody else writes here, so conditions hold."""
        self._items[item["pk"], item["sk"]] = item

    def query(
        self, pk: str, *, prefix: str = "", descending: bool = False, limit: int = 0, consistent: bool = True
    ) -> list[Mapping[str, Any]]:
        """The items below `prefix`."""
        found = sorted(sk for p, sk in self._items if p == pk and sk.startswith(prefix))
        return [self._items[pk, sk] for sk in (reversed(found) if descending else found)][: limit or None]


class Unanswered:
    """The list of unanswered questions."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def open(self) -> list[dict[str, Any]]:
        """The open ones."""
        return self.items

    def judged(self) -> list[dict[str, Any]]:
        """Passages that people had an opinion about."""
        return []

    def refreshed(self) -> dict[str, Any]:
        """What the last look at web pages gave."""
        return {}

    def close(self, gap: str) -> None:
        """Takes one off."""
        self.items = [item for item in self.items if item["id"] != gap]


class FakeApi(Simulator):
    """Serves the page and its API. `script` says how a question is answered; anything else is answered with `default`."""

    def __init__(self) -> None:
        super().__init__()
        self.key = KEY
        self.role = "admin"
        self.model = "builtin"
        self.script: dict[str, dict[str, Any]] = {}
        self.default: dict[str, Any] = {"steps": ["Fourteen days."]}
        self.turns: dict[str, list[FakeTurn]] = {}
        self.asked: list[str] = []
        self.uploads: dict[str, bytes] = {}
        """Files that were put in, by their keys."""
        self.stopped = threading.Event()
        self.gaps = Unanswered()
        self._service: Service | None = None
        self._scratch = TemporaryDirectory()
        self.rollouts = Rollouts(Shelf())  # type: ignore[arg-type]  # as much of a table as the rings use
        self.findings: list[dict[str, str]] = []
        self.letters: list[dict[str, Any]] = []
        self.components: dict[str, Any] = {
            "table": {"state": "ok"},
            "queue": {"state": "ok"},
            "model": {"state": "ok", "detail": "builtin"},
        }

    def knowledge(self) -> Service:
        """The knowledge behind `/api/knowledge`."""
        if self._service is None:
            folder = Folder(Path(self._scratch.name))
            self._service = Service(Versions(folder, folder, tenant="acme"), gaps=self.gaps)  # type: ignore[arg-type]  # a list will do
        return self._service

    def stop(self) -> None:
        """Ends the server and takes its folder away."""
        super().stop()
        self._scratch.cleanup()

    def wait_for_stop(self) -> bool:
        """Whether somebody ended an answer within five seconds."""
        return self.stopped.wait(5)

    def before(self, call: Call) -> Answer | None:
        """The key is needed for everything but the page and its health."""
        if (
            call.path.startswith("/api/")
            and call.path != "/api/sign-in"
            and call.headers.get("authorization") != f"Bearer {self.key}"
        ):
            return Answer(401, {"error": "the Authorization header must be 'Bearer' and the API key"})
        return None

    @route("GET", r"/")
    def index(self, call: Call) -> Answer:
        """The page."""
        return self._file("")

    @route("GET", r"/console/(?P<name>.*)")
    def file(self, call: Call) -> Answer:
        """What the page loads."""
        return self._file(call.params["name"])

    def _file(self, name: str) -> Answer:
        try:
            reply = page(name)
        except Refused as error:
            return Answer(error.status, {"error": str(error)})
        return Answer(reply.status, reply.body, {"content-type": reply.content_type, **reply.headers})

    @route("GET", r"/api/conversations/[^/]+/files/0")
    def answered_file(self, call: Call) -> Answer:
        """The file that an answer carries."""
        return Answer(200, b"%PDF-1.7 plan", {"content-type": "application/pdf", "content-disposition": "attachment"})

    @route("PUT", r"/api/conversations/[^/]+/files")
    def put_file(self, call: Call) -> Answer:
        """Takes a file for a message."""
        if not call.body:
            return Answer(400, {"error": f"{call.query['name']} is empty"})
        key = f"{len(self.uploads)}/{call.query['name']}"
        self.uploads[key] = call.body
        return Answer(200, {"file": key})

    @route("GET", r"/health")
    def health(self, call: Call) -> Answer:
        """The state of the parts."""
        good = all(c["state"] == "ok" for c in self.components.values())
        return Answer(200 if good else 503, {"status": "ok" if good else "fault", "components": self.components})

    @route("GET", r"/api/rollout")
    def rollout(self, call: Call) -> Answer:
        """How far the roll-out has reached."""
        return Answer(200, asdict(self.rollouts.read()))

    @route("GET", r"/api/rollout/history")
    def rollout_history(self, call: Call) -> Answer:
        """Who changed what."""
        return Answer(200, {"changes": [asdict(change) for change in self.rollouts.history()]})

    @route("POST", r"/api/rollout")
    def change_rollout(self, call: Call) -> Answer:
        """One change, with the real rules."""
        asked = call.json()
        by = {"who": asked["who"], "why": asked["why"]}
        try:
            if asked["action"] == "set":
                state = self.rollouts.set(asked["changes"], ring=asked.get("ring", ""), **by)
            else:
                act = {"promote": self.rollouts.promote, "halt": self.rollouts.halt, "rollback": self.rollouts.roll_back}
                state = act[asked["action"]](**by)
        except InvalidSetting as error:
            return Answer(400, {"error": str(error)})
        return Answer(200, asdict(state))

    def _knowledge(self, call: Call) -> Answer:
        """The real service of the knowledge, on a folder."""
        status, said = answer(self.knowledge(), call.method, call.params["path"], call.query, call.body)
        return Answer(status, json.loads(json.dumps(said, default=list)))

    @route("GET", r"/api/knowledge/(?P<path>.*)")
    def look(self, call: Call) -> Answer:
        """Reads the knowledge."""
        return self._knowledge(call)

    @route("POST", r"/api/knowledge/(?P<path>.*)")
    def act(self, call: Call) -> Answer:
        """Changes the knowledge."""
        return self._knowledge(call)

    @route("PUT", r"/api/knowledge/(?P<path>.*)")
    def put(self, call: Call) -> Answer:
        """Takes a file."""
        return self._knowledge(call)

    @route("DELETE", r"/api/knowledge/(?P<path>.*)")
    def delete(self, call: Call) -> Answer:
        """Removes."""
        return self._knowledge(call)

    @route("GET", r"/api/doctor")
    def doctor(self, call: Call) -> Answer:
        """What stands in the way."""
        return Answer(200, {"state": "ok", "findings": self.findings})

    @route("GET", r"/api/dead-letters")
    def dead_letters(self, call: Call) -> Answer:
        """What could not be answered."""
        return Answer(200, {"letters": self.letters})

    @route("POST", r"/api/dead-letters/replay")
    def replay(self, call: Call) -> Answer:
        """Puts letters back."""
        asked = call.json()
        gone = [letter["id"] for letter in self.letters if asked.get("all") or letter["id"] in asked.get("ids", [])]
        self.letters = [letter for letter in self.letters if letter["id"] not in gone]
        return Answer(200, {"replayed": gone, "missing": [i for i in asked.get("ids", []) if i not in gone]})

    @route("GET", r"/api/session")
    def session(self, call: Call) -> Answer:
        """Who holds the key."""
        return Answer(
            200, {"id": "webchat", "name": "the web chat's key", "role": self.role, "person": "", "scopes": [], "by": "key"}
        )

    @route("GET", r"/api/sign-in")
    def ways(self, call: Call) -> Answer:
        """Accounts that one could sign in with."""
        return Answer(200, {"providers": []})

    @route("GET", r"/api/setup")
    def setup(self, call: Call) -> Answer:
        """What the installation is made of."""
        platforms = [
            {"name": n, "connected": False, "callbacks": [f"https://chat.acme.com/webhook/{n}/events"]}
            for n in ("webchat", "feishu", "slack", "teams")
        ]
        return Answer(
            200,
            {
                "public_url": "https://chat.acme.com",
                "platforms": platforms,
                "providers": [],
                "sign_in": [],
                "settings": {"model": self.model, "retention_days": 180},
            },
        )

    @route("POST", r"/api/conversations/(?P<conversation>[^/]+)/messages")
    def message(self, call: Call) -> Answer:
        """Takes a message once for its id."""
        data = call.json() | {"conversation": call.params["conversation"]}
        turns = self.turns.setdefault(data["conversation"], [])
        if data.get("text") == "stop" and any(t.hold for t in turns):
            for turn in turns:
                turn.hold, turn.steps = False, ["Stopped."]
            self.stopped.set()
            return Answer(202, {"id": data["id"]})
        if all(t.id != data["id"] for t in turns):
            carried = [key.partition("/")[2] for key in data.get("files", ())]
            said = data["text"] if "text" in data else f"{data['action']['key']}={json.dumps(data['action']['value'])}"
            self.asked.append(said)
            plan = {**self.default, **self.script.get(said, {})}
            turns.append(
                FakeTurn(
                    id=data["id"],
                    cursor=f"{len(turns):06d}",
                    at=int(self.clock() * 1000),
                    user=data["user"],
                    question=data.get("text", ""),
                    attached=carried,
                    **{**plan, "steps": list(plan["steps"])},
                )
            )
        return Answer(202, {"id": data["id"]})

    @route("GET", r"/api/conversations/(?P<conversation>[^/]+)/turns")
    def conversation(self, call: Call) -> Answer:
        """The turns from the cursor on; the cursor stays at the first one that is still open."""
        after = call.query.get("after", "")
        turns = self.turns.get(call.params["conversation"], [])
        seen = [(t, t.look()) for t in turns if t.cursor >= after]
        open_ = next((t.cursor for t, look in seen if look["state"] == "answering"), None)
        return Answer(200, {"turns": [look for _, look in seen], "cursor": open_ or (turns[-1].cursor if turns else "")})
