"""`assistant model`: half a model is never uploaded, an upload goes on where it broke off, and any model can be tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.dev import weights
from assistant.dev.cli import main
from assistant.dev.emulator import BUCKET, CREDENTIALS, REGION, Emulator
from assistant.errors import InvalidSetting
from tests.engine import tiny_model
from tests.simulators.openai_server import ModelServer, Plan
from tests.support.house import client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "tiny")


def test_a_whole_model_is_recognised(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / ".gitattributes").write_text("")
    found = weights.look_through(folder)
    assert found.architecture == "Qwen3ForCausalLM"
    assert found.dtype == "bfloat16"
    assert found.ignored == ("pytorch_model.bin",)
    assert found.files[-1].name == "model.safetensors"
    assert found.size == sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".json", ".safetensors"))


def cut(folder: Path) -> None:
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[:-100])


def garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def half_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')


@pytest.mark.parametrize(
    ("damage", "hint"),
    [
        (cut, "should have"), (garbage, "no whole safetensors"), (without("config.json"), r"config\.json is missing"),
        (without("tokenizer.json"), None), (without("model.safetensors"), r"no \*\.safetensors"), (half_index, "lacks 1 of 1"),
        (lambda f: (f / "config.json").write_text("{}"), "no architecture"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    ],
)  # fmt: skip
def test_half_a_model_is_named(folder: Path, damage: Callable[[Path], Any], hint: str | None) -> None:
    damage(folder)
    if hint is None:  # tokenizer_config.json alone may do: some models keep their words elsewhere
        (folder / "tokenizer_config.json").unlink()
        hint = "no tokenizer"
    with pytest.raises(InvalidSetting, match=hint):
        weights.look_through(folder)


def test_a_push_goes_on_where_it_broke_off_and_ends_with_the_config(aws: Emulator, folder: Path) -> None:
    s3 = client(aws, "s3")
    found = weights.look_through(folder)

    class Breaks:
        """Breaks off at the third file, as a line does."""

        def __init__(self) -> None:
            self.uploads: list[str] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def upload_file(self, path: str, bucket: str, key: str, **options: Any) -> None:
            if len(self.uploads) == 2:
                raise ConnectionError("the line broke")
            self.uploads.append(key)
            s3.upload_file(path, bucket, key, **options)

    with pytest.raises(ConnectionError):
        weights.push(found, s3=Breaks(), bucket=BUCKET, name="tiny")
    assert weights.names(s3, BUCKET)[0][2] is False, "what broke off is not whole"
    seen: list[tuple[str, int]] = []
    done = weights.push(found, s3=s3, bucket=BUCKET, name="tiny", progress=lambda f, n: seen.append((f, n)))
    assert (done.uploaded, done.skipped) == (len(found.files) - 2, 2)
    assert sum(n for _, n in seen) == found.size
    assert seen[-1][0] == "config.json"
    assert weights.names(s3, BUCKET) == [("tiny", found.size, True)]
    assert weights.push(found, s3=s3, bucket=BUCKET, name="tiny").uploaded == 0
    for file in found.files:
        body = s3.get_object(Bucket=BUCKET, Key=f"models/tiny/{file}")["Body"].read()
        assert body == (folder / file).read_bytes()


def test_another_model_under_the_same_name_is_not_mixed_in(aws: Emulator, folder: Path) -> None:
    s3 = client(aws, "s3")
    s3.put_object(Bucket=BUCKET, Key="models/tiny/model-00001-of-00002.safetensors", Body=b"old")
    found = weights.look_through(folder)
    with pytest.raises(InvalidSetting, match="--replace"):
        weights.push(found, s3=s3, bucket=BUCKET, name="tiny")
    assert weights.push(found, s3=s3, bucket=BUCKET, name="tiny", replace=True).removed == 1
    assert "models/tiny/model-00001-of-00002.safetensors" not in weights.stored(s3, BUCKET, "models/")


def test_a_dry_run_only_looks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "push", str(folder), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["whole"] is True
    (folder / "config.json").unlink()
    assert main(["model", "push", str(folder), "--dry-run"]) == 2
    assert "config.json is missing" in capsys.readouterr().err
    assert main(["model", "push", str(folder), "--name", "../x"]) == 2


def test_push_and_list_from_the_command_line(aws: Emulator, folder: Path) -> None:
    environment = {**os.environ, **CREDENTIALS}
    place = ["--bucket", BUCKET, "--endpoint-url", aws.endpoint, "--region", REGION]

    def assistant(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "assistant.dev.cli", "model", words[0], *place, *words[1:]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    pushed = assistant("push", str(folder), "--name", "tiny")
    assert pushed.returncode == 0, pushed.stderr
    assert "gpu_weights=tiny" in pushed.stdout
    (listed,) = json.loads(assistant("list", "--json").stdout)["models"]
    assert listed["name"] == "tiny"
    assert listed["whole"] is True
    lost = assistant("list", "--bucket", "", "--stage", "nowhere")
    assert lost.returncode == 2
    assert "--bucket" in lost.stderr


def test_check_shows_the_answer_and_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    with ModelServer(plan=Plan(text="Hello there.", first_token=0.05)) as server:
        spec = f"openai:tiny@{server.base}/v1"
        assert main(["model", "check", spec, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert main(["model", "check", spec]) == 0
        assert "first token after" in capsys.readouterr().out
    assert shown["text"] == "Hello there."
    assert shown["first_token_ms"] >= 50
    assert main(["model", "check", "openai:m@http://127.0.0.1:9/v1", "--seconds", "3"]) == 1
    assert "cannot be reached" in capsys.readouterr().out
    assert main(["model", "check", "nonsense"]) == 2
