"""Starts the inference engine in its container: finds the model, checks it, builds vLLM's arguments, becomes vLLM.

Standard library only, Python 3.11 or later. Obeys SageMaker's rules for containers (`serve` as the first argument, port 8080,
the process itself gets SIGTERM) and runs unchanged on ECS or a machine with a GPU. Arguments come from, later ones winning:

    1. DEFAULTS below
    2. the profile named by ENGINE_PROFILE (a file in `engine/`, or a path), else `engine.json` beside the weights
    3. SM_VLLM_* variables: SM_VLLM_MAX_MODEL_LEN=8192 is `--max-model-len 8192`; `true` or nothing is a bare flag, `false`
       takes the argument away, a JSON array is several values, a JSON object stays one
    4. arguments of the container itself, as they stand

The model is SM_VLLM_MODEL, else /opt/ml/model where it holds one, else HF_MODEL_ID. `--print-argv` prints what would run, as
JSON, and ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Value = bool | int | float | str | list[str] | dict[str, object]

MODEL_DIR = Path("/opt/ml/model")
PROFILES = Path(__file__).resolve().parent / "engine"
PREFIX = "SM_VLLM_"

DEFAULTS: Mapping[str, Value] = {
    "host": "0.0.0.0",  # noqa: S104  # SageMaker and ECS reach the container from outside
    "port": 8080,
    "served-model-name": "assistant",
    "max-model-len": 16384,
    "max-num-seqs": 256,
    "gpu-memory-utilization": 0.92,
    # Beyond this the server answers 503 at once instead of letting people wait; the client repeats or falls back.
    "max-num-queued-reqs": 320,
    "enable-auto-tool-choice": True,
    "tool-call-parser": "hermes",
    "tool-strict-level": "parameter",  # forced tool calls keep to their schema
    "enable-prompt-tokens-details": True,  # reports what came out of the prefix cache
    # SageMaker sends SIGKILL 30 s after SIGTERM; streams that are running get 25 s to end.
    "shutdown-timeout": 25,
    "sse-keep-alive-interval": 10,
    "disable-access-log-for-endpoints": "/ping,/health,/metrics",
}

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class CannotStart(Exception):
    """Why the engine cannot start, with the next step."""


@dataclass(frozen=True)
class Launch:
    """What is executed: `argv` of the engine, `env` on top of the container's own."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def launch(
    environ: Mapping[str, str], argv: Sequence[str], *, model_dir: Path = MODEL_DIR, python: str = sys.executable
) -> Launch:
    """What to execute for `environ` and the container's arguments `argv`. Raises CannotStart."""
    extra = list(argv[1:] if argv and argv[0] == "serve" else argv)
    profile, added = read_profile(environ, model_dir)
    wanted = {**DEFAULTS, **profile, **from_environment(environ)}
    if "SAGEMAKER_BIND_TO_PORT" in environ and f"{PREFIX}PORT" not in environ:
        wanted["port"] = environ["SAGEMAKER_BIND_TO_PORT"]
    chosen = wanted.pop("model", "")
    model = find_model(str(chosen), environ, model_dir)
    env = {**ENVIRONMENT, **added}
    if Path(model).is_dir():
        check_model(Path(model), weights=wanted.get("load-format") != "dummy")
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    else:  # a name on the hub: the image is offline by default
        env |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    command = [python, "-m", "vllm.entrypoints.cli.main", "serve", model]
    return Launch((*command, *arguments(wanted), *extra), env)


# --- where the arguments come from -------------------------------------------------------------


def read_profile(environ: Mapping[str, str], model_dir: Path) -> tuple[dict[str, Value], dict[str, str]]:
    """Arguments and environment of the profile, both empty where none is named and none lies beside the weights."""
    name = environ.get("ENGINE_PROFILE", "")
    if name:
        path = Path(name) if "/" in name else PROFILES / f"{name.removesuffix('.json')}.json"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.json")))
            raise CannotStart(f"no engine profile {name!r}; known: {known}; or give ENGINE_PROFILE the path of a file")
    else:
        path = model_dir / "engine.json"
        if not path.is_file():
            return {}, {}
    try:
        profile = json.loads(path.read_text("utf-8"))
        args, env = profile.get("args", {}), profile.get("env", {})
        if not isinstance(args, dict) or not isinstance(env, dict):
            raise ValueError("args and env must be objects")
    except (ValueError, AttributeError) as error:
        raise CannotStart(f"{path} is no engine profile: {error}; it is a JSON object with an object `args`") from error
    return {str(k).lstrip("-").replace("_", "-"): v for k, v in args.items()}, {str(k): str(v) for k, v in env.items()}


def from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """The arguments that SM_VLLM_* variables name."""
    return {
        name[len(PREFIX) :].lower().replace("_", "-"): parse(value)
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and len(name) > len(PREFIX)
    }


def parse(text: str) -> Value:
    """The value that a variable's `text` stands for."""
    word = text.strip()
    if word.lower() in ("", "true"):
        return True
    if word.lower() == "false":
        return False
    if word[0] == "[":
        try:
            items = json.loads(word)
        except ValueError:
            return text  # not an array: vLLM shall judge it
        if isinstance(items, list):
            return [i if isinstance(i, str) else json.dumps(i) for i in items]
    return text


def arguments(wanted: Mapping[str, Value]) -> list[str]:
    """`wanted` as command line arguments, in the order of the names."""
    out: list[str] = []
    for name in sorted(wanted):
        value = wanted[name]
        if value is False:
            continue
        out.append(f"--{name}")
        if value is True:
            continue
        if isinstance(value, list):
            out += [v if isinstance(v, str) else json.dumps(v) for v in value]
        elif isinstance(value, dict):
            out.append(json.dumps(value, separators=(",", ":"), sort_keys=True))
        else:
            out.append(str(value))
    return out


# --- the model ---------------------------------------------------------------------------------


def find_model(chosen: str, environ: Mapping[str, str], model_dir: Path) -> str:
    """The model's folder or name: `chosen`, else the mounted folder, else HF_MODEL_ID."""
    if chosen:
        return chosen
    if (model_dir / "config.json").is_file():
        return str(model_dir)
    nested = sorted(p.parent for p in model_dir.glob("*/config.json")) if model_dir.is_dir() else []
    if len(nested) == 1:
        return str(nested[0])
    if len(nested) > 1:
        raise CannotStart(f"{model_dir} holds several models ({', '.join(p.name for p in nested)}); name one in SM_VLLM_MODEL")
    if name := environ.get("HF_MODEL_ID", ""):
        return name
    raise CannotStart(f"no model: {model_dir} holds no config.json; mount one there, or set SM_VLLM_MODEL or HF_MODEL_ID")


def check_model(folder: Path, *, weights: bool = True) -> None:
    """Raises CannotStart where `folder` is not a whole model: better now than after minutes of loading."""
    config = folder / "config.json"
    try:
        data = json.loads(config.read_text("utf-8"))
    except FileNotFoundError:
        raise CannotStart(f"{folder} holds no config.json; give the folder that the weights were downloaded to") from None
    except (ValueError, OSError) as error:
        raise CannotStart(f"{config} cannot be read ({error}); upload it again") from error
    if not isinstance(data, dict) or not (data.get("architectures") or data.get("model_type")):
        raise CannotStart(f"{config} names no architecture; is this a language model's folder?")
    if not any((folder / n).is_file() for n in ("tokenizer.json", "tokenizer_config.json", "tekken.json", "tokenizer.model")):
        raise CannotStart(f"{folder} holds no tokenizer; upload tokenizer.json and tokenizer_config.json as well")
    if not weights:
        return
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise CannotStart(f"{index} cannot be read ({error}); upload it again") from error
        if missing := sorted(s for s in shards if not (folder / s).is_file()):
            raise CannotStart(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files, first {missing[0]}; upload them again"
            )
    elif not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise CannotStart(f"{folder} holds no weights (*.safetensors); upload them, or set SM_VLLM_LOAD_FORMAT=dummy to try out")


def main() -> int:
    """Becomes the engine; returns only where it cannot start or `--print-argv` was asked."""
    argv = sys.argv[1:]
    printing = "--print-argv" in argv
    try:
        start = launch(os.environ, [a for a in argv if a != "--print-argv"])
    except CannotStart as error:
        print(f"cannot start: {error}", file=sys.stderr)  # noqa: T201  # the container's log
        return 2
    if printing:
        print(json.dumps({"argv": start.argv, "env": start.env}, indent=1))  # noqa: T201  # what was asked for
    else:
        os.environ.update(start.env)
        os.execvp(start.argv[0], start.argv)  # noqa: S606  # the engine takes this process's place, and so its SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
