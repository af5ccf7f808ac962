"""A model server without a model: OpenAI's chat completions over HTTP, and the same answers through SageMaker's event stream.

It plays an engine such as vLLM: a first-token time and a token rate, a prefix cache per salt, a full queue (503), forced tool
calls, usage; and what goes wrong in one: stalls, breaks, malformed events, errors inside the stream. It is as strict as the
real ones about the body, keys and signatures. One thread serves all connections, so that a thousand streams cost little.

    with ModelServer(text="Fourteen days.") as server:
        open_model(f"openai:tiny@{server.base}/v1", region="eu-west-1")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

_FIELDS = frozenset(
    """messages model stream stream_options max_tokens max_completion_tokens temperature top_p tools tool_choice
    parallel_tool_calls stop seed user response_format prompt_cache_key""".split()  # noqa: SIM905  # reads better than a page of quotes
)
_ENGINE_FIELDS = frozenset({"cache_salt", "ignore_eos", "min_tokens", "top_k"})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one request goes. Times in seconds; positions count tokens of the text."""

    text: str = "Hello."
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and raw arguments of each call."""
    reasoning: str = ""
    first_token: float = 0.0
    gap: float = 0.0
    keep_alive: float = 0.0
    """Sends a comment this often while nothing else is sent."""
    status: int = 200
    error: Mapping[str, Any] = field(default_factory=dict)
    """Body of a refusal, under `error`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream; charset=utf-8"
    hang_up: bool = False
    """Closes the connection instead of answering."""
    stall_after: int | None = None
    break_after: int | None = None
    malformed_after: int | None = None
    error_after: int | None = None
    """Sends an `{"error": …}` event at this place, over SageMaker a ModelStreamError."""
    shed: bool = False
    """Begins the stream and then says in it that the queue is full, as vLLM does."""
    done: bool = True
    """False: ends the body without `[DONE]`."""
    finish: str = ""
    newline: Literal["\n", "\r\n"] = "\n"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that was let in."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    raw: bytes
    at: float


class ModelServer:
    """Serves on 127.0.0.1 as a context manager. `plans` are used up one a request, then `plan` holds for all."""

    def __init__(
        self,
        *,
        text: str = "Hello.",
        plan: Plan | None = None,
        model: str = "tiny",
        api_key: str = "",
        engine: bool = True,
        running: int = 10_000,
        queued: int = 10_000,
        seed: int = 1,
    ) -> None:
        self.plan = plan or Plan(text=text)
        self.plans: deque[Plan] = deque()
        self.answer: Callable[[dict[str, Any]], Plan] | None = None
        """Makes the plan of each request from its body, where given."""
        self.model = model
        self.api_key = api_key
        self.engine = engine
        """False: refuses fields that only engines know, as OpenAI does."""
        self.asked: list[Asked] = []
        self.answered: list[tuple[Asked, float]] = []
        """Requests that were answered to their end, and the seconds that each took here."""
        self.refused = 0
        self.aborted = 0
        """Requests whose client left before the answer was whole."""
        self.finished = 0
        self.running = 0
        self.most_running = 0
        self._most = running
        self._queue = queued
        self.inside = 0
        """Requests that wait or run."""
        self._random = random.Random(seed)
        self._cached: dict[str, set[int]] = {}
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._changed = threading.Condition()

    # --- life ---

    def start(self, port: int = 0) -> Self:
        """Begins to serve."""
        ready = threading.Event()

        async def serve() -> None:
            self._slots = asyncio.Semaphore(self._most)
            self._server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=2048, limit=2**20)
            self._port = self._server.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(serve())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, name="model-server", daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def stop(self) -> None:
        """Ends the server and every connection."""

        async def end() -> None:
            assert self._server
            self._server.close()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base(self) -> str:
        """Address, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def wait_until(self, holds: Any, *, seconds: float = 5.0) -> None:
        """Returns as soon as `holds(self)` is true; fails after `seconds`."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self), seconds), f"still not so after {seconds} s"

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # --- HTTP ---

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        front = b""  # a byte of the next request that was read while watching for the client to leave
        try:
            while True:
                try:
                    head = front + await reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError:
                    return
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:] if x)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                out = _Out(writer)
                if not await self._request(method, path, headers, body, reader, out):
                    return
                front = out.read_ahead
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], raw: bytes, reader: asyncio.StreamReader, out: _Out
    ) -> bool:
        """Answers one request; False where the connection must not be used again."""
        path = path.partition("?")[0]
        if method == "GET" and path in ("/health", "/ping"):
            return await out.whole(200, b"", "text/plain")
        if method == "GET" and path == "/v1/models":
            return await out.json(200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        sagemaker = re.fullmatch(r"/endpoints/([^/]+)/invocations-response-stream", path)
        if method != "POST":
            return await out.json(405, {"error": {"message": "Method Not Allowed", "code": 405}})
        try:
            body = json.loads(raw)
        except ValueError:
            return await out.json(400, {"error": {"message": "body is not JSON", "type": "BadRequestError", "code": 400}})
        if path == "/tokenize":
            tokens = list(range(len(pieces(body.get("prompt", "")))))
            return await out.json(200, {"count": len(tokens), "max_model_len": 16384, "tokens": tokens})
        if path == "/v1/embeddings":
            rows = [{"index": i, "embedding": embedding(t)} for i, t in enumerate(body["input"])]
            return await out.json(200, {"object": "list", "data": rows[::-1]})  # any order: the index says which
        if sagemaker:
            if not re.match(
                r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/[\w-]+/sagemaker/aws4_request", headers.get("authorization", "")
            ):
                return await out.aws_error(403, "AccessDeniedException", {"Message": "the call is not signed"})
            if sagemaker[1] != self.model:
                return await out.aws_error(400, "ValidationError", {"Message": f"Endpoint {sagemaker[1]} not found."})
        elif path != "/v1/chat/completions" and not path.endswith("/openai/v1/chat/completions"):
            return await out.json(404, {"error": {"message": "Not Found", "type": "NotFoundError", "code": 404}})
        elif self.api_key and headers.get("authorization") != f"Bearer {self.api_key}":
            self.refused += 1
            return await out.json(401, {"error": {"message": "Unauthorized", "type": "AuthenticationError", "code": 401}})
        front: _Front = _AwsFront(out, self._random) if sagemaker else _HttpFront(out)
        if fault := self._fault(body, sagemaker=bool(sagemaker)):
            self.refused += 1
            return await front.refuse(*fault, {})
        plan = self.plans.popleft() if self.plans else self.answer(body) if self.answer else self.plan
        asked = Asked(path=path, headers=headers, body=body, raw=raw, at=time.monotonic())
        self.asked.append(asked)
        self._tell()
        if plan.hang_up:
            out.writer.transport.abort()
            return False
        if plan.status != 200:
            self.refused += 1
            return await front.refuse(plan.status, dict(plan.error), plan.headers)
        if self.inside >= self._most + self._queue:
            self.refused += 1
            return await front.refuse(503, {"message": "the queue is full", "type": "ServiceUnavailableError", "code": 503}, {})
        self.inside += 1
        try:
            again = await self._generate(body, plan, front, reader, out)
            self.answered.append((asked, time.monotonic() - asked.at))
            return again
        finally:
            self.inside -= 1
            self._tell()

    async def _generate(self, body: dict[str, Any], plan: Plan, front: _Front, reader: asyncio.StreamReader, out: _Out) -> bool:
        work = asyncio.ensure_future(self._answer(body, plan, front))
        left = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        ahead = left.result() if left.done() and left.exception() is None else b""
        if not work.done() and ahead:  # not gone: the next request is coming in already
            await asyncio.wait({work})
        whole = False
        if work.done():
            try:
                whole = work.result()
                self.finished += whole
            except ConnectionError:
                self.aborted += 1
        else:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await work
            self.aborted += 1
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            out.read_ahead = await left
        self._tell()
        if not whole:
            out.writer.transport.abort()
        return whole

    async def _answer(self, body: dict[str, Any], plan: Plan, front: _Front) -> bool:
        await self._slots.acquire()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._tell()
        try:
            await front.begin(plan)
            async for data in self._events(body, plan, front):
                await front.send(data.replace("\n", plan.newline).encode())
            if plan.break_after is not None or plan.stall_after is not None:
                return False
            await front.end()
            return True
        finally:
            self.running -= 1
            self._slots.release()

    async def _events(self, body: dict[str, Any], plan: Plan, front: _Front) -> AsyncIterator[str]:
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body.get("model") or self.model}

        def event(delta: dict[str, Any], finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return f"data: {json.dumps({**common, 'choices': [choice]}, ensure_ascii=False)}\n\n"

        if plan.shed:
            yield 'data: {"error": {"message": "queue full", "type": "Service Unavailable", "param": null, "code": 503}}\n\n'
            yield "data: [DONE]\n\n"
            return
        yield event({"role": "assistant", "content": ""})
        await self._pause(plan.first_token, plan, front)
        for piece in pieces(plan.reasoning):
            yield event({"reasoning_content": piece})
        tokens = pieces(plan.text) if not plan.tool_calls else []
        calls = plan.tool_calls or self._forced(body)
        if calls and not plan.tool_calls:
            tokens = []
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 1_000_000
        finish = plan.finish or ("tool_calls" if calls else "length" if len(tokens) > limit else "stop")
        for n, token in enumerate(tokens[:limit]):
            if n == plan.break_after:
                return
            if n == plan.stall_after:
                await self._pause(3600, plan, front)
            if n == plan.malformed_after:
                yield 'data: {"choices": [{"del\n\n'
            if n == plan.error_after:
                if await front.stream_error():
                    return
                yield 'data: {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}\n\n'
            yield event({"content": token})
            if plan.gap:
                await self._pause(plan.gap, plan, front)
        for index, (name, arguments) in enumerate(calls):
            yield event(
                {
                    "tool_calls": [
                        {"index": index, "id": f"call-{index}", "type": "function", "function": {"name": name, "arguments": ""}}
                    ]
                }
            )
            for i in range(0, len(arguments), 3):
                yield event({"tool_calls": [{"index": index, "function": {"arguments": arguments[i : i + 3]}}]})
        yield event({}, finish)
        if (body.get("stream_options") or {}).get("include_usage"):
            prompt, cached = self._prompt(body)
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": min(len(tokens), limit),
                "total_tokens": prompt + min(len(tokens), limit),
                "prompt_tokens_details": {"cached_tokens": cached},
            }
            yield f"data: {json.dumps({**common, 'choices': [], 'usage': usage})}\n\n"
        if plan.done:
            yield "data: [DONE]\n\n"

    async def _pause(self, seconds: float, plan: Plan, front: _Front) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, plan.keep_alive) if plan.keep_alive else left)
            if plan.keep_alive and time.monotonic() < end:
                await front.send(b": keep-alive\n\n")

    def _forced(self, body: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        if body.get("tool_choice") == "required" and body.get("tools"):
            return ((body["tools"][0]["function"]["name"], "{}"),)
        return ()

    def _prompt(self, body: dict[str, Any]) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them the cache held: whole blocks of 16 after an equal beginning."""
        text = json.dumps(
            [body["messages"][0] if body["messages"][0]["role"] == "system" else None, body.get("tools"), body["messages"]]
        )
        tokens = pieces(text)
        known = self._cached.setdefault(str(body.get("cache_salt")), set())
        state, hits, counting = 0, 0, True
        for i in range(0, len(tokens) - 15, 16):
            state = hash((state, tuple(tokens[i : i + 16])))
            counting = counting and state in known
            hits += 16 * counting
            known.add(state)
        return len(tokens), hits

    # --- the rules ---

    def _fault(self, body: Any, *, sagemaker: bool) -> tuple[int, dict[str, Any]] | None:
        def bad(message: str, status: int = 400) -> tuple[int, dict[str, Any]]:
            return status, {"message": message, "type": "BadRequestError" if status == 400 else "NotFoundError", "code": status}

        if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
            return bad("messages must be a list with at least one message")
        unknown = set(body) - _FIELDS - (_ENGINE_FIELDS if self.engine else frozenset())
        if unknown:
            return bad(f"unknown fields: {sorted(unknown)}")
        model = body.get("model")
        if not isinstance(model, str) or (model and model != self.model and not sagemaker):
            return bad(f"The model `{model}` does not exist.", 404)
        if body.get("stream") is not True:
            return bad("this server only streams")
        open_calls: set[str] = set()
        for i, message in enumerate(body["messages"]):
            role = message.get("role")
            if role not in ("system", "user", "assistant", "tool"):
                return bad(f"messages[{i}]: unknown role {role!r}")
            if role == "system" and i > 0:
                return bad("the system message must come first")
            if role == "tool":
                if message.get("tool_call_id") not in open_calls:
                    return bad(f"messages[{i}]: a tool message must answer a tool call")
                open_calls.discard(message["tool_call_id"])
            elif open_calls:
                return bad(f"messages[{i}]: tool calls without an answer: {sorted(open_calls)}")
            if role == "assistant" and message.get("tool_calls"):
                open_calls = {c["id"] for c in message["tool_calls"]}
            elif not isinstance(message.get("content"), str):
                return bad(f"messages[{i}]: content must be text")
        for tool in body.get("tools", ()):
            function = tool.get("function", {})
            if tool.get("type") != "function" or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", function.get("name", "")):
                return bad("a tool needs type function and a name of letters, digits, _ and -")
            if not self.engine and function.get("strict") and function["parameters"].get("additionalProperties") is not False:
                return bad(f"Invalid schema for function {function['name']!r}: 'additionalProperties' must be false")
        return None


# --- the two fronts ----------------------------------------------------------------------------


class _Out:
    """Writes HTTP/1.1."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.read_ahead = b""

    async def whole(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> bool:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()
        return True

    async def json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> bool:
        return await self.whole(status, json.dumps(body).encode(), "application/json", headers)

    async def aws_error(self, status: int, kind: str, body: Mapping[str, Any]) -> bool:
        return await self.json(status, body, {"x-amzn-errortype": kind})

    async def begin(self, kind: str) -> None:
        self.writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        if data:
            self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await self.writer.drain()

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


class _Front:
    def __init__(self, out: _Out) -> None:
        self.out = out

    async def refuse(self, status: int, error: dict[str, Any], headers: Mapping[str, str]) -> bool:
        raise NotImplementedError

    async def begin(self, plan: Plan) -> None:
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        raise NotImplementedError

    async def stream_error(self) -> bool:
        """Ends the stream in the front's own way; False where it has none."""
        return False

    async def end(self) -> None:
        await self.out.end()


class _HttpFront(_Front):
    async def refuse(self, status: int, error: dict[str, Any], headers: Mapping[str, str]) -> bool:
        return await self.out.json(status, {"error": error}, headers)

    async def begin(self, plan: Plan) -> None:
        await self.out.begin(plan.content_type)

    async def send(self, data: bytes) -> None:
        await self.out.chunk(data)


class _AwsFront(_Front):
    """Frames the bytes as `application/vnd.amazon.eventstream`, cut at any place."""

    def __init__(self, out: _Out, dice: random.Random) -> None:
        super().__init__(out)
        self._dice = dice
        self._held = b""

    async def refuse(self, status: int, error: dict[str, Any], headers: Mapping[str, str]) -> bool:
        message = json.dumps({"error": error})
        body = {"Message": f"Received server error ({status})", "OriginalStatusCode": status, "OriginalMessage": message}
        return await self.out.aws_error(424, "ModelError", body)

    async def begin(self, plan: Plan) -> None:
        await self.out.begin("application/vnd.amazon.eventstream")

    async def send(self, data: bytes) -> None:
        self._held += data
        while self._held:
            cut = self._dice.randint(1, len(self._held) + 8)
            if cut > len(self._held):  # held back: a part may end in the middle of an event and go on much later
                if self._dice.random() < 0.5:
                    return
                cut = len(self._held)
            part, self._held = self._held[:cut], self._held[cut:]
            await self._part(part)

    async def _part(self, part: bytes) -> None:
        frame = event_frame(
            {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}, part
        )
        middle = self._dice.randint(0, len(frame))  # the frames themselves arrive in pieces
        await self.out.chunk(frame[:middle])
        await self.out.chunk(frame[middle:])

    async def stream_error(self) -> bool:
        await self._part(self._held) if self._held else None
        body = json.dumps({"Message": "the model container broke off", "ErrorCode": "StreamBroken"}).encode()
        headers = {":message-type": "exception", ":exception-type": "ModelStreamError", ":content-type": "application/json"}
        await self.out.chunk(event_frame(headers, body))
        return True

    async def end(self) -> None:
        if self._held:
            await self._part(self._held)
            self._held = b""
        await super().end()


def event_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of AWS's event stream encoding: lengths, checksum, headers, payload, checksum."""
    encoded = b"".join(
        bytes([len(k)]) + k.encode() + b"\x07" + struct.pack(">H", len(v.encode())) + v.encode() for k, v in headers.items()
    )
    prelude = struct.pack(">II", 12 + len(encoded) + len(payload) + 4, len(encoded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))


# --- small things ------------------------------------------------------------------------------


def pieces(text: str) -> list[str]:
    """`text` cut into what stands for tokens: up to four letters with the space before them, or one other sign."""
    return re.findall(r" ?[A-Za-z]{1,4}|\s|.", text, re.S)


def embedding(text: str, size: int = 16) -> list[float]:
    """A vector of length other than 1 that depends on the characters of `text` alone."""
    row = [0.0] * size
    for c in text.lower():
        row[ord(c) % size] += 1
    return [x + 0.5 for x in row]


def failing(plan: Plan, times: int) -> list[Plan]:
    """`plan` so many times, for `server.plans`."""
    return [replace(plan) for _ in range(times)]
