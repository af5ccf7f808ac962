"""The container's entry point: which command runs for which environment, and what is refused before minutes of loading."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from functions.inference.entrypoint import DEFAULTS, CannotStart, Launch, arguments, launch, parse

ENTRYPOINT = Path("functions/inference/entrypoint.py").resolve()
PROFILES = sorted((ENTRYPOINT.parent / "engine").glob("*.json"))


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return whole_model(tmp_path / "model")


def whole_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 8)
    return folder


def start(environ: Mapping[str, str], model_dir: Path, *argv: str) -> Launch:
    return launch(environ, argv or ("serve",), model_dir=model_dir, python="python3")


def options(argv: tuple[str, ...]) -> dict[str, list[str]]:
    """The arguments by name; the last of a name wins, as in argparse."""
    out: dict[str, list[str]] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name = word
            out[name] = []
        elif name:
            out[name].append(word)
    return out


def test_without_any_setting_the_mounted_model_is_served_by_sagemakers_rules(model_dir: Path) -> None:
    argv = start({}, model_dir).argv
    assert argv[:5] == ("python3", "-m", "vllm.entrypoints.cli.main", "serve", str(model_dir))
    given = options(argv)
    assert given["--port"] == ["8080"]
    assert given["--host"] == ["0.0.0.0"]
    assert given["--served-model-name"] == ["assistant"]
    assert given["--enable-auto-tool-choice"] == []
    assert int(given["--shutdown-timeout"][0]) < 30
    assert argv.count("serve") == 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SM_VLLM_MAX_MODEL_LEN", "8192", ["--max-model-len", "8192"]),
        ("SM_VLLM_ENFORCE_EAGER", "true", ["--enforce-eager"]),
        ("SM_VLLM_ENFORCE_EAGER", "True", ["--enforce-eager"]),
        ("SM_VLLM_ENFORCE_EAGER", "", ["--enforce-eager"]),
        ("SM_VLLM_ENFORCE_EAGER", "false", []),
        ("SM_VLLM_SERVED_MODEL_NAME", '["a", "b"]', ["--served-model-name", "a", "b"]),
        ("SM_VLLM_MIDDLEWARE", '["x.y", 3]', ["--middleware", "x.y", "3"]),
        ("SM_VLLM_COMPILATION_CONFIG", '{"level": 3}', ["--compilation-config", '{"level": 3}']),
        ("SM_VLLM_CHAT_TEMPLATE", "[no json", ["--chat-template", "[no json"]),
        ("SM_VLLM_TENSOR_PARALLEL_SIZE", " 2 ", ["--tensor-parallel-size", " 2 "]),
        ("SM_VLLM_NO_ENABLE_PREFIX_CACHING", "true", ["--no-enable-prefix-caching"]),
    ],
)
def test_each_variable_becomes_exactly_these_arguments(name: str, value: str, expected: list[str], model_dir: Path) -> None:
    flag = "--" + name.removeprefix("SM_VLLM_").lower().replace("_", "-")
    argv = list(start({name: value}, model_dir).argv)
    if not expected:
        assert flag not in argv
        return
    at = argv.index(flag)
    assert argv[at : at + len(expected)] == expected
    assert argv.count(flag) == 1
    after = argv[at + len(expected) :]
    assert not after or after[0].startswith("--"), "a value that belongs to nobody"


def test_environment_wins_over_the_profile_and_the_profile_over_the_defaults(model_dir: Path) -> None:
    (model_dir / "engine.json").write_text(
        '{"args": {"max_num_seqs": 7, "--max-model-len": 2048}, "env": {"VLLM_CPU_KVCACHE_SPACE": 1}}'
    )
    plain = start({}, model_dir)
    assert options(plain.argv)["--max-num-seqs"] == ["7"]
    assert options(plain.argv)["--max-model-len"] == ["2048"]
    assert options(plain.argv)["--port"] == ["8080"]
    assert plain.env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert options(start({"SM_VLLM_MAX_NUM_SEQS": "9"}, model_dir).argv)["--max-num-seqs"] == ["9"]
    assert "--max-num-seqs" not in start({"SM_VLLM_MAX_NUM_SEQS": "false"}, model_dir).argv


def test_a_named_profile_wins_over_the_one_beside_the_weights(model_dir: Path) -> None:
    (model_dir / "engine.json").write_text('{"args": {"max-num-seqs": 7}}')
    given = options(start({"ENGINE_PROFILE": "48gb-small"}, model_dir).argv)
    assert given["--max-num-seqs"] != ["7"]
    assert given["--kv-cache-dtype"] == ["fp8"]
    assert json.loads(given["--default-chat-template-kwargs"][0]) == {"enable_thinking": False}


def test_arguments_of_the_container_come_last_as_they_stand(model_dir: Path) -> None:
    assert start({}, model_dir, "serve", "--max-model-len", "4096").argv[-2:] == ("--max-model-len", "4096")
    assert start({}, model_dir, "--seed", "1").argv[-2:] == ("--seed", "1")


def test_the_model_is_found_in_this_order(tmp_path: Path, model_dir: Path) -> None:
    other = whole_model(tmp_path / "other")
    environ = {"SM_VLLM_MODEL": str(other), "HF_MODEL_ID": "Qwen/Qwen3-4B"}
    assert start(environ, model_dir).argv[4] == str(other)
    assert start({"HF_MODEL_ID": "Qwen/Qwen3-4B"}, model_dir).argv[4] == str(model_dir)
    empty = tmp_path / "empty"
    empty.mkdir()
    hub = start({"HF_MODEL_ID": "Qwen/Qwen3-4B"}, empty)
    assert hub.argv[4] == "Qwen/Qwen3-4B"
    assert hub.env["HF_HUB_OFFLINE"] == "0"
    assert start({}, model_dir).env["HF_HUB_OFFLINE"] == "1"
    whole_model(empty / "qwen")
    assert start({}, empty).argv[4] == str(empty / "qwen"), "a prefix that keeps its last folder"


def test_the_port_that_sagemaker_names_is_bound(model_dir: Path) -> None:
    assert options(start({"SAGEMAKER_BIND_TO_PORT": "9090"}, model_dir).argv)["--port"] == ["9090"]
    both = {"SAGEMAKER_BIND_TO_PORT": "9090", "SM_VLLM_PORT": "7"}
    assert options(start(both, model_dir).argv)["--port"] == ["7"]


def remove(*names: str) -> Any:  # a change to a model's folder
    return lambda folder: [(folder / n).unlink() for n in names]


def write(name: str, text: str) -> Any:  # a change to a model's folder
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "environ", "hint"),
    [
        (remove("config.json"), {}, "no config.json"),
        (write("config.json", "{"), {}, "upload it again"),
        (write("config.json", "[]"), {}, "names no architecture"),
        (remove("tokenizer.json"), {}, "holds no tokenizer"),
        (remove("model.safetensors"), {}, "no weights"),
        (
            write("model.safetensors.index.json", '{"weight_map": {"a": "1.safetensors", "b": "model.safetensors"}}'),
            {},
            "lacks 1 of 2",
        ),
        (write("model.safetensors.index.json", "no"), {}, "upload it again"),
        (write("engine.json", "[]"), {}, "no engine profile"),
        (write("engine.json", '{"args": 1}'), {}, "args and env must be objects"),
        (write("x", ""), {"ENGINE_PROFILE": "12gb"}, "known: 141gb-large, "),
        (write("x", ""), {"SM_VLLM_MODEL": "/opt/ml"}, None),
    ],
)
def test_what_cannot_start_says_why_and_what_to_do(
    damage: Any, environ: dict[str, str], hint: str | None, model_dir: Path
) -> None:
    damage(model_dir)
    if hint is None:  # a path that does not exist here is a name for the engine to judge
        assert start(environ, model_dir).argv[4] == "/opt/ml"
        return
    with pytest.raises(CannotStart, match=hint):
        start(environ, model_dir)


def test_dummy_weights_need_no_weight_files(model_dir: Path) -> None:
    (model_dir / "model.safetensors").unlink()
    assert "dummy" in start({"SM_VLLM_LOAD_FORMAT": "dummy"}, model_dir).argv


def test_several_models_in_one_folder_must_be_chosen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        whole_model(tmp_path / "models" / name)
    with pytest.raises(CannotStart, match=r"several models \(a, b\)"):
        start({}, tmp_path / "models")


def test_values_keep_their_text() -> None:
    assert parse("0.90") == "0.90"
    assert parse("null") == "null"
    assert arguments({"a": 1.5, "b": [1, "x"], "c": {"k": True}}) == ["--a", "1.5", "--b", "1", "x", "--c", '{"k":true}']  # type: ignore[list-item]  # what JSON may hold


# --- as the container runs it ------------------------------------------------------------------


def test_print_argv_shows_what_would_run(model_dir: Path) -> None:
    environ = {"SM_VLLM_MODEL": str(model_dir), "SM_VLLM_MAX_MODEL_LEN": "99"}
    done = subprocess.run(
        [sys.executable, "-I", str(ENTRYPOINT), "serve", "--print-argv"], env=environ, capture_output=True, text=True, check=True
    )
    shown = json.loads(done.stdout)
    assert shown["argv"][shown["argv"].index("--max-model-len") + 1] == "99"
    assert shown["env"]["VLLM_NO_USAGE_STATS"] == "1"


def test_a_container_without_a_model_ends_with_one_line_and_status_2() -> None:
    done = subprocess.run([sys.executable, "-I", str(ENTRYPOINT), "serve"], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("cannot start: no model")
    assert done.stderr.count("\n") == 1


def test_it_becomes_the_engine_and_so_gets_its_signals(tmp_path: Path, model_dir: Path) -> None:
    package = tmp_path / "fake" / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    (package / "main.py").write_text("import os, sys; print(os.getpid(), len(sys.argv), os.environ['DO_NOT_TRACK'])")
    process = subprocess.Popen(
        [sys.executable, str(ENTRYPOINT), "serve"],
        env={"SM_VLLM_MODEL": str(model_dir), "PYTHONPATH": str(tmp_path / "fake")},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=20)
    pid, count, no_tracking = out.split()
    assert int(pid) == process.pid, "exec keeps the process; a child would never see SIGTERM"
    assert int(count) > 10
    assert no_tracking == "1"


def test_the_entry_point_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(ENTRYPOINT.read_text())
    roots = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    roots |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert roots <= set(sys.stdlib_module_names)


# --- the profiles ------------------------------------------------------------------------------

OVERHEAD_GB = 2.5
"""CUDA context, graphs and activations."""


def test_there_is_a_small_medium_and_large_model_for_each_size_of_gpu() -> None:
    names = {f"{gpu}-{size}" for gpu in ("24gb", "48gb", "80gb", "141gb") for size in ("small", "medium", "large")}
    assert {p.stem for p in PROFILES} == names


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_a_profile_fits_its_gpu_and_names_its_licence(path: Path) -> None:
    profile = json.loads(path.read_text())
    args, model, gpu = profile["args"], profile["model"], profile["gpu"]
    assert model["license"] == "Apache-2.0"
    free = DEFAULTS["gpu-memory-utilization"] * gpu["memory_gb"] - model["weights_gb"] - OVERHEAD_GB
    tokens = free * 1e9 / model["kv_bytes_per_token"]
    assert tokens > 2 * args["max-model-len"], "the longest conversation would not fit beside another"
    assert tokens >= 1800 * args["max-num-seqs"], "more conversations in flight than the cache holds at 2,000 tokens each"
    assert args["max-num-queued-reqs"] >= args["max-num-seqs"]
    qwen = "Qwen" in model["id"]
    assert args["tool-call-parser"] == ("hermes" if qwen else "openai")
    if "Instruct" not in model["id"]:
        assert args["reasoning-parser"] == ("qwen3" if qwen else "openai_gptoss")
    assert not {a for a in args if a.startswith("--") or "_" in a}


def test_the_documentation_names_every_profiles_model() -> None:
    page = Path("docs/inference.md").read_text("utf-8")
    rows = {line.split("|")[1].split("`")[1]: line for line in page.splitlines() if line.startswith("| `") and "gb`" in line}
    for path in PROFILES:
        gpu, size = path.stem.split("-")
        column = ("small", "medium", "large").index(size) + 2
        model = json.loads(path.read_text())["model"]["id"].rpartition("/")[2]
        assert rows[gpu].split("|")[column].strip().removesuffix(" (bf16)") == model
