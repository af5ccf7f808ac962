"""How fast the engine is on this machine: `make bench-gpu`, or `python -m tests.benchmarks.gpu --help`.

Serves a model of a given shape with made-up weights (speed depends on the shape alone) through our container's entry point,
loads it with multi-turn sessions at rising concurrency, and compares what comes out with what the chip could do: the bytes it
must read for each step over its measured bandwidth, and the operations of a prompt over its measured matrix rate.

Writes JSON and a plot to build/benchmarks/. The figures are of the machine they were measured on; those of a processor say
nothing about a GPU, and the report says which it was. With `--url` any other OpenAI-compatible server is measured instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "benchmarks"
GPU_VERSION = "0.32.0"

SHAPES: Mapping[str, Mapping[str, int]] = {
    "8b": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "vocab_size": 151936,
    },
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 32768,
        "vocab_size": 512,
    },
}


# --- what the chip could do --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one token costs a model of a shape, in bfloat16."""

    weight_bytes: float
    """Read once a step, whatever the batch; the embedding table is looked up, not read."""
    kv_bytes: float
    """Read for each token of context of each sequence."""
    flop: float
    """Of one prompt token, without attention."""

    @classmethod
    def of(cls, shape: Mapping[str, int]) -> Work:
        """The work of `shape`."""
        hidden, head, layers = shape["hidden_size"], shape["head_dim"], shape["num_hidden_layers"]
        q, kv = shape["num_attention_heads"] * head, shape["num_key_value_heads"] * head
        layer = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * shape["intermediate_size"]
        output = hidden * shape["vocab_size"]
        return cls(weight_bytes=2 * (layers * layer + output), kv_bytes=2 * 2 * kv * layers, flop=2 * layers * layer)

    def ceiling(self, *, running: float, context: float, bytes_per_second: float) -> float:
        """Most tokens a second that `running` sequences of `context` tokens can get out of the memory."""
        return running * bytes_per_second / (self.weight_bytes + running * context * self.kv_bytes)


CHIP = """
import json, sys, time
import torch
gpu = torch.cuda.is_available()
if not gpu: torch.set_num_threads(int(sys.argv[1]))
device = "cuda" if gpu else "cpu"
wait = torch.cuda.synchronize if gpu else (lambda: None)
def best(act, times):
    act(); wait(); found = []
    for _ in range(times):
        began = time.perf_counter(); act(); wait(); found.append(time.perf_counter() - began)
    return min(found)
n = (4 << 30) if gpu else (256 << 20)
a = torch.zeros(n // 2, dtype=torch.bfloat16, device=device)
read = n / best(lambda: torch.sum(a.view(torch.int32)), 8 if gpu else 4)
b = torch.empty_like(a)
copy = 2 * n / best(lambda: b.copy_(a), 8 if gpu else 4)
del a, b
m = 8192 if gpu else 1024
x = torch.randn(m, m, dtype=torch.bfloat16, device=device); y = torch.randn(m, m, dtype=torch.bfloat16, device=device)
def many():
    for _ in range(10 if gpu else 1): x @ y
rate = 2 * m ** 3 * (10 if gpu else 1) / best(many, 5)
print(json.dumps({"gpu": gpu, "name": torch.cuda.get_device_name() if gpu else "", "torch": torch.__version__,
  "bytes_per_second": max(read, copy), "flop_per_second": rate}))
"""


def measure_chip(python: Path) -> dict[str, Any]:
    """Measured memory bandwidth (bytes/s) and bfloat16 matrix rate (FLOP/s) of the chip that `python`'s torch uses."""
    threads = str(os.cpu_count() or 1)
    done = subprocess.run([str(python), "-c", CHIP, threads], capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# --- the load ----------------------------------------------------------------------------------


@dataclass
class Sample:
    """One request: when it was sent, when each part of its answer came (seconds), and what it counted."""

    sent: float
    turn: int
    status: int = 0
    parts: list[float] = field(default_factory=list)
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    done: bool = False
    error: str = ""


class Client:
    """A lean streaming client: 400 streams in one process must not be what is measured."""

    def __init__(self, base: str, model: str, *, engine: bool = True) -> None:
        self._url = urlsplit(base)
        self._model = model
        self._engine = engine

    async def ask(
        self, messages: Sequence[Mapping[str, str]], *, tokens: int, turn: int = 0, seconds: float = 600
    ) -> tuple[Sample, str]:
        """The sample of one request and the text that came."""
        body: dict[str, Any] = {
            "messages": messages,
            "model": self._model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": tokens,
            "temperature": 0.8,
        }
        if self._engine:
            body |= {"ignore_eos": True, "min_tokens": tokens}
        raw = json.dumps(body).encode()
        sample = Sample(sent=time.perf_counter(), turn=turn)
        text: list[str] = []
        try:
            async with asyncio.timeout(seconds):
                await self._stream(raw, sample, text)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            sample.error = type(error).__name__
        return sample, "".join(text)

    async def _stream(self, raw: bytes, sample: Sample, text: list[str]) -> None:
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port or 80, limit=2**22)
        try:
            path = f"{self._url.path.rstrip('/')}/chat/completions"
            head = f"POST {path} HTTP/1.1\r\nhost: {self._url.netloc}\r\ncontent-length: {len(raw)}\r\n"
            writer.write(head.encode() + b"content-type: application/json\r\nconnection: close\r\n\r\n" + raw)
            await writer.drain()
            sample.status = int((await reader.readline()).split()[1])
            while (await reader.readline()).strip():
                pass
            if sample.status != 200:
                sample.error = f"HTTP {sample.status}"
                return
            async for line in reader:
                if line.startswith(b"data: [DONE]"):
                    sample.done = True
                    break
                if line.startswith(b"data: {"):
                    self._event(line, sample, text)
            if not sample.done and not sample.error:
                sample.error = "cut"
        finally:
            writer.close()

    def _event(self, line: bytes, sample: Sample, text: list[str]) -> None:
        part = json.loads(line[6:])
        if refused := part.get("error"):  # vLLM sheds a streamed request inside the stream as often as before it
            sample.status = refused.get("code") or 500
            sample.error = f"HTTP {sample.status}"
        if usage := part.get("usage"):
            sample.prompt = usage["prompt_tokens"]
            sample.completion = usage["completion_tokens"]
            sample.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        if part.get("choices"):
            delta = part["choices"][0].get("delta") or {}
            content = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning")
            if content:
                sample.parts.append(time.perf_counter())
                text.append(content)


def words(tokens: int, dice: random.Random) -> str:
    """Text of about `tokens` tokens for the byte-level tokenizer: letters that no merge joins."""
    return "".join(dice.choice("BCDFGHJKLMNPQRSTVWXZ0123456789") for _ in range(tokens))


@dataclass(frozen=True, kw_only=True)
class Load:
    """The conversations of one level: a system prompt that all share, and turns that grow."""

    system: int = 1000
    question: int = 80
    answer: int = 200
    turns: int = 5
    seconds: float = 60.0
    warm: float = 5.0
    think: float = 0.0


async def level(client: Client, concurrency: int, load: Load, *, seed: int) -> tuple[list[Sample], float]:
    """The samples of `concurrency` sessions that ask as soon as they are answered, and the seconds that were measured."""
    dice = random.Random(seed)
    system = words(load.system, random.Random(0))  # the same in every run: it is the company's prompt
    samples: list[Sample] = []
    began = time.perf_counter()
    end = began + load.warm + load.seconds

    async def session(number: int) -> None:
        mine = random.Random(dice.random() + number)
        while time.perf_counter() < end:
            messages = [{"role": "system", "content": system}]
            for turn in range(load.turns):
                if time.perf_counter() >= end:
                    return
                messages.append({"role": "user", "content": words(load.question, mine)})
                sample, text = await client.ask(messages, tokens=load.answer, turn=turn)
                samples.append(sample)
                if sample.error:
                    await asyncio.sleep(0.5)
                    break
                # The words of made-up weights are no text one could send back; as many tokens of our own stand in.
                messages.append({"role": "assistant", "content": words(max(1, sample.completion), mine) if text else "x"})
                if load.think:
                    await asyncio.sleep(mine.uniform(0.5, 1.5) * load.think)

    async with asyncio.TaskGroup() as group:
        for number in range(concurrency):
            group.create_task(session(number))
    counted = [s for s in samples if s.sent >= began + load.warm]
    stop = max((p for s in counted for p in s.parts[-1:]), default=time.perf_counter())
    return counted or samples, max(1e-9, stop - began - load.warm)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie (nearest rank); 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def summary(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """What a level showed; times in milliseconds."""
    good = [s for s in samples if s.done and not s.error and s.parts]
    first = [1000 * (s.parts[0] - s.sent) for s in good]
    gaps = [1000 * (b - a) for s in good for a, b in zip(s.parts, s.parts[1:], strict=False)]
    prompt = sum(s.prompt for s in good)
    context = statistics.mean(s.prompt + s.completion / 2 for s in good) if good else 0.0
    return {
        "requests": len(samples),
        "answered": len(good),
        "shed": sum(1 for s in samples if s.status == 503),
        "errors": sum(1 for s in samples if s.error and s.status != 503),
        "error_kinds": sorted({s.error for s in samples if s.error}),
        "output_tokens_per_second": sum(s.completion for s in good) / seconds,
        "prompt_tokens_per_second": prompt / seconds,
        "prefix_hit_share": sum(s.cached for s in good) / prompt if prompt else 0.0,
        "mean_context": context,
        "ttft_ms": {p: percentile(first, q) for p, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
        "itl_ms": {p: percentile(gaps, q) for p, q in (("p50", 0.5), ("p99", 0.99))},
        "ttft_p50_ms_by_turn": {
            str(t): percentile([1000 * (s.parts[0] - s.sent) for s in good if s.turn == t], 0.5)
            for t in sorted({s.turn for s in good})
        },
    }


class Gauges:
    """Looks at the engine's own metrics twice a second while a level runs."""

    NAMES = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:num_preemptions_total")

    def __init__(self, root: str) -> None:
        self._root = root
        self.most: dict[str, float] = {}
        self.preemptions = 0.0
        self._before: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Gauges:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            text = await asyncio.to_thread(fetch, f"{self._root}/metrics")
            for line in text.splitlines():
                name = line.partition("{")[0].partition(" ")[0]
                if name in self.NAMES:
                    value = float(line.rpartition(" ")[2])
                    if name == "vllm:num_preemptions_total":
                        self._before = value if self._before is None else self._before
                        self.preemptions = value - self._before
                    else:
                        self.most[name] = max(self.most.get(name, 0.0), value)
            await asyncio.sleep(0.5)


def fetch(url: str) -> str:
    """The text at `url`, empty where there is none."""
    import httpx

    try:
        answer = httpx.get(url, timeout=10)
    except httpx.HTTPError:
        return ""
    return answer.text if answer.status_code == 200 else ""


async def sweep(
    client: Client, root: str, levels: Sequence[int], load: Load, work: Work | None, chip: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row for each concurrency."""
    rows: list[dict[str, Any]] = []
    for n, concurrency in enumerate(levels):
        say(f"{concurrency} in flight for {load.seconds:.0f} s …")
        async with Gauges(root) as gauges:
            samples, seconds = await level(client, concurrency, load, seed=n)
        row = {"in_flight": concurrency, "seconds": seconds, **summary(samples, seconds)}
        row["most"] = dict(gauges.most)
        row["preemptions"] = gauges.preemptions
        if work and chip.get("bytes_per_second"):
            running = min(float(concurrency), gauges.most.get("vllm:num_requests_running") or float(concurrency))
            row["ceiling_tokens_per_second"] = work.ceiling(
                running=running, context=row["mean_context"], bytes_per_second=chip["bytes_per_second"]
            )
            row["share_of_ceiling"] = row["output_tokens_per_second"] / row["ceiling_tokens_per_second"]
        rows.append(row)
        say(
            f"  {row['output_tokens_per_second']:,.0f} tokens/s, first token p95 {row['ttft_ms']['p95']:,.0f} ms, "
            f"{row['prefix_hit_share']:.0%} from the cache, {row['shed']} shed, {row['errors']} errors"
        )
    return rows


async def prefill(client: Client, *, tokens: int, requests: int, work: Work | None, chip: Mapping[str, Any]) -> dict[str, Any]:
    """Prompt tokens a second for prompts that no cache holds, four at a time."""
    dice = random.Random(99)
    waiting = asyncio.Semaphore(4)

    async def one() -> Sample:
        async with waiting:
            sample, _ = await client.ask([{"role": "user", "content": words(tokens, dice)}], tokens=1)
            return sample

    await one()
    began = time.perf_counter()
    samples = await asyncio.gather(*(one() for _ in range(requests)))
    seconds = time.perf_counter() - began
    rate = sum(s.prompt - s.cached for s in samples) / seconds
    row: dict[str, Any] = {
        "prompt_tokens": tokens,
        "requests": requests,
        "tokens_per_second": rate,
        "errors": sum(bool(s.error) for s in samples),
    }
    if work and chip.get("flop_per_second"):
        row["ceiling_tokens_per_second"] = chip["flop_per_second"] / work.flop
        row["share_of_ceiling"] = rate / row["ceiling_tokens_per_second"]
    return row


async def overload(client: Client, offered: int, load: Load) -> dict[str, Any]:
    """What `offered` requests at one moment do to those let in, and how soon a new one is served as before."""
    dice = random.Random(5)
    system = words(load.system, random.Random(0))

    def question() -> list[dict[str, str]]:
        return [{"role": "system", "content": system}, {"role": "user", "content": words(load.question, dice)}]

    before = [(await client.ask(question(), tokens=8))[0] for _ in range(3)]
    usual = statistics.median(s.parts[0] - s.sent for s in before if s.parts)
    samples = [s for s, _ in await asyncio.gather(*(client.ask(question(), tokens=load.answer) for _ in range(offered)))]
    ended = time.perf_counter()
    recovery = math.inf
    while time.perf_counter() - ended < 60:
        sample, _ = await client.ask(question(), tokens=8)
        if sample.parts and sample.parts[0] - sample.sent < max(2 * usual, usual + 0.05):
            recovery = time.perf_counter() - ended
            break
    first = [1000 * (s.parts[0] - s.sent) for s in samples if s.parts]
    return {
        "offered": offered,
        "answered": sum(s.done and not s.error for s in samples),
        "shed": sum(s.status == 503 for s in samples),
        "errors": sum(bool(s.error) and s.status != 503 for s in samples),
        "ttft_ms_of_admitted": {p: percentile(first, q) for p, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
        "recovery_seconds": recovery if recovery < math.inf else None,
    }


# --- the report --------------------------------------------------------------------------------


def round_up(value: float) -> float:
    """The next number above `value` that quarters well: 1, 2, 4 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(n * power for n in (1, 2, 4, 8, 10, 20) if n * power >= value)


def plot(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Throughput with its ceiling, and time to first token, over the number in flight, as SVG."""
    wide, high, left, gap = 460, 300, 64, 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (wide + gap) + left} {high + 110}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="{left}" y="24" font-size="15">{escape(title)}</text>',
    ]
    charts: list[tuple[str, list[tuple[str, str, list[float]]]]] = [
        (
            "output tokens a second",
            [
                ("measured", "#1f6feb", [float(r["output_tokens_per_second"]) for r in rows]),
                ("ceiling of the memory", "#8b949e", [float(r.get("ceiling_tokens_per_second", 0)) for r in rows]),
            ],
        ),
        (
            "time to first token, ms",
            [
                ("p50", "#1f6feb", [float(r["ttft_ms"]["p50"]) for r in rows]),
                ("p95", "#d1242f", [float(r["ttft_ms"]["p95"]) for r in rows]),
            ],
        ),
    ]
    for n, (name, lines) in enumerate(charts):
        x0, y0 = left + n * (wide + gap), 60
        shown = [(label, colour, values) for label, colour, values in lines if any(values)]
        top = round_up(max([v for _, _, values in shown for v in values] or [1.0]))
        parts.append(f'<text x="{x0}" y="{y0 - 10}">{name}</text>')
        for k in range(5):
            y = y0 + high - high * k / 4
            parts.append(f'<line x1="{x0}" x2="{x0 + wide}" y1="{y}" y2="{y}" stroke="#e5e7eb"/>')
            parts.append(f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end">{top * k / 4:,.0f}</text>')
        step = wide / max(1, len(rows) - 1)
        for k, row in enumerate(rows):
            parts.append(f'<text x="{x0 + k * step}" y="{y0 + high + 18}" text-anchor="middle">{row["in_flight"]}</text>')
        parts.append(f'<text x="{x0 + wide}" y="{y0 + high + 38}" text-anchor="end">answers in the making</text>')
        for k, (label, colour, values) in enumerate(shown):
            points = " ".join(f"{x0 + i * step:.1f},{y0 + high - high * v / top:.1f}" for i, v in enumerate(values))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<text x="{x0 + 8 + 150 * k}" y="{y0 + high + 38}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def machine() -> dict[str, Any]:
    """What this machine is."""
    found: dict[str, Any] = {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        found["gpus"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    return found


GOALS = (
    "one stream ≥ 60 % of the ceiling · 200 in flight at about 2,000 tokens of context ≥ 50 %, first token p95 ≤ 1 s at ≥ 70 % "
    "prefix hits · prefill ≥ 50 % of the matrix rate · no errors · 400 offered: recovery < 10 s"
)


def verdict(report: Mapping[str, Any]) -> dict[str, bool | None]:
    """Whether each goal for an H200 with the 8B shape was met; None where it was not measured."""
    rows = {r["in_flight"]: r for r in report["levels"]}
    one, many, burst = rows.get(1), rows.get(200), report.get("overload") or {}
    return {
        "one stream ≥ 60 % of the ceiling": one["share_of_ceiling"] >= 0.6 if one and "share_of_ceiling" in one else None,
        "200 in flight ≥ 50 % of the ceiling": many["share_of_ceiling"] >= 0.5 if many and "share_of_ceiling" in many else None,
        "first token p95 ≤ 1 s at 200": many["ttft_ms"]["p95"] <= 1000 if many else None,
        "prefix hits ≥ 70 % at 200": many["prefix_hit_share"] >= 0.7 if many else None,
        "prefill ≥ 50 % of the matrix rate": report["prefill"]["share_of_ceiling"] >= 0.5
        if "share_of_ceiling" in report.get("prefill", {})
        else None,
        "no errors": all(r["errors"] == 0 for r in report["levels"]),
        "recovery from overload < 10 s": (burst["recovery_seconds"] or 99) < 10 if burst else None,
    }


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def engine_python(wanted: str) -> Path:
    """A Python that has vLLM: `wanted`, or one made for this machine's chip."""
    if wanted:
        return Path(wanted)
    from tests.engine.install import EngineMissing, ensure

    if not shutil.which("nvidia-smi"):
        return ensure()
    folder = ROOT / "build" / "engine-gpu"
    python = folder / "bin" / "python"
    if not (folder / ".ready").is_file():
        say(f"installing vLLM {GPU_VERSION} into {folder.relative_to(ROOT)} (about 8 GB, once)")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"vllm=={GPU_VERSION}"], check=False)
        if done.returncode:
            raise EngineMissing(
                "vLLM cannot be installed; start any OpenAI-compatible server and give --url http://127.0.0.1:8000/v1"
            )
        (folder / ".ready").touch()
    return python


async def measure(base: str, args: argparse.Namespace, chip: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Everything that is asked of the server at `base` (with `/v1`)."""
    client = Client(base, model, engine=not args.url)
    root = base.removesuffix("/v1")
    work = Work.of(SHAPES[args.shape]) if not args.url or args.shape_given else None
    load = Load(seconds=args.seconds, warm=min(5.0, args.seconds / 5), answer=args.answer, system=args.system)
    say("warming up …")
    await level(
        client, min(8, max(args.levels)), Load(seconds=min(3.0, args.seconds), warm=0, answer=16, system=args.system), seed=1000
    )
    report: dict[str, Any] = {"levels": await sweep(client, root, args.levels, load, work, chip)}
    say("prompts alone …")
    report["prefill"] = await prefill(client, tokens=args.prefill, requests=args.prefill_requests, work=work, chip=chip)
    if args.offered:
        say(f"{args.offered} at one moment …")
        report["overload"] = await overload(client, args.offered, load)
    return report


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--shape", choices=sorted(SHAPES), help="8b where there is a GPU, else tiny")
    made.add_argument(
        "--levels", type=lambda t: [int(x) for x in t.split(",")], default=[1, 8, 50, 200, 400], help="numbers in flight"
    )
    made.add_argument("--seconds", type=float, default=60.0, help="measured at each level")
    made.add_argument("--system", type=int, default=1000, help="tokens of the shared system prompt")
    made.add_argument("--answer", type=int, default=200, help="tokens of each answer")
    made.add_argument("--prefill", type=int, default=8000, help="tokens of each prompt of the prefill run")
    made.add_argument("--prefill-requests", type=int, default=40)
    made.add_argument("--offered", type=int, default=400, help="requests of the overload run; 0 leaves it out")
    made.add_argument("--max-num-seqs", type=int, default=256, help="slots of the engine; a quarter more may wait")
    made.add_argument("--python", default="", help="a Python that has vLLM")
    made.add_argument("--url", default="", help="measure this server instead, as http://127.0.0.1:8000/v1")
    made.add_argument("--model", default="assistant", help="name of the model at --url")
    made.add_argument("--contrast", action="store_true", help="also run the highest level with the prefix cache off")
    made.add_argument("--out", type=Path, default=OUT)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and reports; 1 where a request failed."""
    args = parser().parse_args(argv)
    args.shape_given = bool(args.shape)
    has_gpu = bool(shutil.which("nvidia-smi"))
    args.shape = args.shape or ("8b" if has_gpu else "tiny")
    report: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "goals": GOALS}
    if args.url:
        report |= {"engine": args.url, "chip": {}, **asyncio.run(measure(args.url.rstrip("/"), args, {}, model=args.model))}
    else:
        report |= _served(args, has_gpu=has_gpu)
    on_gpu = has_gpu and bool(report["chip"].get("gpu", True))
    report["device"] = "gpu" if on_gpu else "processor"
    report["note"] = "" if on_gpu else "Measured on a processor: it proves the harness and says nothing about a GPU."
    report["verdict"] = verdict(report) if on_gpu else {}
    args.out.mkdir(parents=True, exist_ok=True)
    name = "gpu" if on_gpu else "gpu-harness-on-a-processor"
    (args.out / f"{name}.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    title = f"{report['chip'].get('name') or 'processor'} · {args.shape} shape, bfloat16, made-up weights"
    (args.out / f"{name}.svg").write_text(plot(report["levels"], title), "utf-8")
    print(
        json.dumps(
            {k: report[k] for k in ("device", "note", "verdict")} | {"report": str(args.out / f"{name}.json")}, ensure_ascii=False
        )
    )
    return 1 if any(r["errors"] for r in report["levels"]) else 0


def _served(args: argparse.Namespace, *, has_gpu: bool) -> dict[str, Any]:
    from tests.engine import tiny_model
    from tests.engine.server import Engine

    python = engine_python(args.python)
    say("measuring the chip …")
    chip = measure_chip(python)
    folder = tiny_model.write(ROOT / "build" / f"shape-{args.shape}", shape=SHAPES[args.shape])
    environ = {
        "SM_VLLM_LOAD_FORMAT": "dummy",
        "SM_VLLM_MAX_NUM_SEQS": str(args.max_num_seqs),
        "SM_VLLM_MAX_NUM_QUEUED_REQS": str(args.max_num_seqs + args.max_num_seqs // 4),  # all that come at once wait first
    }
    if has_gpu:
        environ |= {k: v for k, v in os.environ.items() if k.startswith(("CUDA_", "NVIDIA_", "LD_", "VLLM_"))}
    else:
        environ |= {"VLLM_CPU_KVCACHE_SPACE": "2", "SM_VLLM_ENFORCE_EAGER": "true"}  # compiling takes minutes
    log = ROOT / "build" / "bench-gpu-engine.log"
    result: dict[str, Any] = {"shape": args.shape, "chip": chip, "limits": environ}
    with Engine(python, folder, environ=environ, log=log) as engine:
        result["engine"] = json.loads(fetch(f"{engine.base}/version") or "{}")
        result["seconds_to_ready"] = engine.seconds_to_ready
        result |= asyncio.run(measure(f"{engine.base}/v1", args, chip, model="assistant"))
    if args.contrast:
        say("the highest level once more, without the prefix cache …")
        with Engine(python, folder, environ=environ | {"SM_VLLM_NO_ENABLE_PREFIX_CACHING": "true"}, log=log) as engine:
            client = Client(f"{engine.base}/v1", "assistant")
            load = Load(seconds=args.seconds, warm=min(5.0, args.seconds / 5), answer=args.answer, system=args.system)
            rows = asyncio.run(sweep(client, engine.base, [max(args.levels)], load, Work.of(SHAPES[args.shape]), chip))
            result["without_prefix_cache"] = rows[0]
    return result


if __name__ == "__main__":
    sys.exit(main())
