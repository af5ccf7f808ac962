"""A model's folder on its way to the inference endpoint: looked through, then uploaded file by file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from assistant.errors import InvalidSetting

PREFIX: Final = "models"

_KEPT: Final = (
    "*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py", "README*", "LICENSE*", "NOTICE*",
)  # fmt: skip
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "tekken.json")
_LARGEST_HEADER: Final = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A folder that holds a whole model. `files` are paths below it, weights last; sizes in bytes."""

    folder: Path
    architecture: str
    dtype: str
    files: tuple[PurePosixPath, ...]
    sizes: Mapping[PurePosixPath, int]
    ignored: tuple[str, ...]
    """What lies there and is not needed to serve."""

    @property
    def size(self) -> int:
        """All files together."""
        return sum(self.sizes.values())


def look_through(folder: Path) -> Weights:
    """The model in `folder`. Raises InvalidSetting, naming the file, where it is not whole."""
    if not folder.is_dir():
        raise InvalidSetting(f"{folder} is no folder; download the model first, as hf download Qwen/Qwen3-8B --local-dir DIR")
    config = _json(folder / "config.json", "the folder that the weights were downloaded to has one")
    architecture = next(iter(config.get("architectures") or []), "") or str(config.get("model_type") or "")
    if not architecture:
        raise InvalidSetting(f"{folder / 'config.json'} names no architecture; is this a language model's folder?")
    if not any((folder / n).is_file() for n in _TOKENIZERS):
        raise InvalidSetting(f"{folder} holds no tokenizer; download tokenizer.json and tokenizer_config.json as well")
    present = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    kept = [p for p in present if any(p.match(pattern) for pattern in _KEPT)]
    shards = [p for p in kept if p.suffix == ".safetensors"]
    if not shards:
        raise InvalidSetting(f"{folder} holds no *.safetensors; other formats are not served, convert the model first")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        mapped = _json(index, "download it again").get("weight_map")
        named = set(mapped.values()) if isinstance(mapped, dict) else set()
        if missing := sorted(named - {p.name for p in shards}):
            raise InvalidSetting(
                f"{folder} lacks {len(missing)} of {len(named)} weight files, first {missing[0]}; download them again"
            )
    for shard in shards:
        check_safetensors(shard)
    others = [p for p in kept if p.suffix != ".safetensors"]
    files = tuple(PurePosixPath(p.name) for p in (*others, *shards))
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    return Weights(
        folder=folder,
        architecture=architecture,
        dtype=str(config.get("torch_dtype") or config.get("dtype") or (text or {}).get("dtype") or ""),
        files=files,
        sizes={f: (folder / f).stat().st_size for f in files},
        ignored=tuple(p.name for p in present if p not in kept),
    )


def check_safetensors(path: Path) -> None:
    """Raises InvalidSetting where `path` is cut or no safetensors file: its header says how long it must be."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _LARGEST_HEADER):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise InvalidSetting(f"{path} is no whole safetensors file ({error}); download it again") from None
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        raise InvalidSetting(f"{path} has {size:,} bytes and should have {wanted:,}; download it again")


def _json(path: Path, advice: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidSetting(f"{path} is missing; {advice}") from None
    except (ValueError, OSError) as error:
        raise InvalidSetting(f"{path} cannot be read ({error}); {advice}") from None
    if not isinstance(data, dict):
        raise InvalidSetting(f"{path} is no JSON object; {advice}")
    return data


# --- the bucket --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What an upload did; counts of files, size in bytes."""

    uri: str
    uploaded: int
    skipped: int
    removed: int
    size: int


def push(
    weights: Weights,
    *,
    s3: Any,  # a boto3 client: its class is made at run time
    bucket: str,
    name: str,
    replace: bool = False,
    progress: Callable[[str, int], None] = lambda _file, _bytes: None,
) -> Pushed:
    """Uploads `weights` to `models/{name}/`; files that are there in the same size and age are left alone, so that an upload
    that broke off goes on where it stopped. config.json goes last: without it nothing is served.

    Raises InvalidSetting where another model lies under that name and `replace` was not asked for.
    """
    prefix = f"{PREFIX}/{name}/"
    there = stored(s3, bucket, prefix)
    strangers = sorted(set(there) - {f"{prefix}{f}" for f in weights.files})
    if strangers and not replace:
        raise InvalidSetting(
            f"s3://{bucket}/{prefix} holds {len(strangers)} other files, first {strangers[0]}; "
            "choose another --name, or say --replace"
        )
    uploaded = skipped = 0
    for file in sorted(weights.files, key=lambda f: (f.name == "config.json", weights.files.index(f))):
        key, path = f"{prefix}{file}", weights.folder / file
        mark = f"{weights.sizes[file]}-{int(path.stat().st_mtime)}"
        if there.get(key) == weights.sizes[file] and s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("source") == mark:
            skipped += 1
            progress(file.name, weights.sizes[file])
            continue
        s3.upload_file(
            str(path), bucket, key, ExtraArgs={"Metadata": {"source": mark}}, Callback=lambda n, f=file.name: progress(f, n)
        )
        uploaded += 1
    for key in strangers:
        s3.delete_object(Bucket=bucket, Key=key)
    return Pushed(uri=f"s3://{bucket}/{prefix}", uploaded=uploaded, skipped=skipped, removed=len(strangers), size=weights.size)


def stored(s3: Any, bucket: str, prefix: str) -> dict[str, int]:
    """Size by key of all objects below `prefix`."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", ())}


def names(s3: Any, bucket: str) -> Sequence[tuple[str, int, bool]]:
    """Name, bytes and wholeness (a config.json is there) of each stored model."""
    found: dict[str, tuple[int, bool]] = {}
    for key, size in stored(s3, bucket, f"{PREFIX}/").items():
        _, name, rest = key.split("/", 2)
        total, whole = found.get(name, (0, False))
        found[name] = (total + size, whole or rest == "config.json")
    return [(n, *found[n]) for n in sorted(found)]
