"""A Qwen3 model of half a million random weights, written on the spot: `python -m tests.engine.tiny_model FOLDER`.

Real in shape and of no sense in content: it proves contract and speed, never the quality of answers. Standard library only.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SHAPE: Mapping[str, int] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 32768,
}

CHAT_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- 'You may call these functions:\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\nAnswer a call as <tool_call>{"name": …, "arguments": …}</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role != 'system' %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def byte_letters() -> list[str]:
    """The printable letter that stands for each byte in byte-level vocabularies, by byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    odd = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + odd.index(b)) for b in range(256)]


WORDS = [
    "the",
    "and",
    "you",
    "can",
    "is",
    "of",
    "to",
    "in",
    "that",
    "for",
    "with",
    "your",
    "company",
    "assistant",
    "leave",
    "days",
    "user",
    "tool",
    "call",
    "name",
    "city",
    "json",
    "true",
]


def tokenizer(size: int = 0) -> dict[str, Any]:
    """A byte-level tokenizer: every byte, a few whole words, the marks of the chat format; filled up to `size` entries with
    words that no text is cut into, so that whatever a model of that vocabulary writes can be read."""
    letters = byte_letters()
    vocab = {letter: n for n, letter in enumerate(letters)}
    merges: list[list[str]] = []
    for word in WORDS:
        parts = [letters[b] for b in f" {word}".encode()]
        whole = parts[0]
        for part in parts[1:]:
            if whole + part not in vocab:
                merges.append([whole, part])
                vocab[whole + part] = len(vocab)
            whole += part
    while len(vocab) < size - len(SPECIAL):
        vocab["".join(letters[b] for b in f" w{len(vocab)}".encode())] = len(vocab)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    special = [
        {
            "id": len(vocab) + n,
            "content": mark,
            "special": True,
            **plain,
        }
        for n, mark in enumerate(SPECIAL)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": False, "fuse_unk": False, "unk_token": None},
    }


def size_of(tokens: Mapping[str, Any]) -> int:
    """Entries of the vocabulary, rounded up as checkpoints do."""
    return -(-(len(tokens["model"]["vocab"]) + len(SPECIAL)) // 64) * 64


def config(vocabulary: int, shape: Mapping[str, int] = SHAPE) -> dict[str, Any]:
    """The model's config.json."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocabulary,
        **shape,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": False,  # tied ones repeat one token for ever
        "use_cache": True,
        "use_sliding_window": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": None,  # random weights would end an answer anywhere
    }


def tensors(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Name, shape and whether it is a norm, of every tensor."""
    hidden, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    heads, kv, dim = SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"], SHAPE["head_dim"]
    yield "model.embed_tokens.weight", (vocabulary, hidden), False
    for n in range(SHAPE["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield f"{layer}.input_layernorm.weight", (hidden,), True
        yield f"{layer}.self_attn.q_proj.weight", (heads * dim, hidden), False
        yield f"{layer}.self_attn.k_proj.weight", (kv * dim, hidden), False
        yield f"{layer}.self_attn.v_proj.weight", (kv * dim, hidden), False
        yield f"{layer}.self_attn.o_proj.weight", (hidden, heads * dim), False
        yield f"{layer}.self_attn.q_norm.weight", (dim,), True
        yield f"{layer}.self_attn.k_norm.weight", (dim,), True
        yield f"{layer}.post_attention_layernorm.weight", (hidden,), True
        yield f"{layer}.mlp.gate_proj.weight", (inner, hidden), False
        yield f"{layer}.mlp.up_proj.weight", (inner, hidden), False
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner), False
    yield "model.norm.weight", (hidden,), True
    yield "lm_head.weight", (vocabulary, hidden), False


def weights(vocabulary: int, *, words: int, seed: int = 7) -> bytes:
    """The tensors as one safetensors file. Beyond the first `words` of the vocabulary stand marks, which are hardly ever written:
    an answer goes on until its limit."""
    dice = random.Random(seed)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, shape, norm in tensors(vocabulary):
        count = 1
        for side in shape:
            count *= side
        values = array("f", [1.0] * count if norm else (dice.gauss(0, 0.08) for _ in range(count)))
        if name == "lm_head.weight":
            values = values[: words * shape[1]] + array("f", [0.0] * ((shape[0] - words) * shape[1]))
        raw = values.tobytes()
        # bfloat16 is the upper half of a little-endian float32
        half = b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [len(data), len(data) + len(half)]}
        data += half
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data)


def write(folder: Path, *, shape: Mapping[str, int] | None = None) -> Path:
    """Writes the model to `folder`. With another `shape`, only config and tokenizer, for `--load-format dummy`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = tokenizer((shape or {}).get("vocab_size", 0))
    vocabulary = (shape or {}).get("vocab_size") or size_of(tokens)
    (folder / "tokenizer.json").write_text(json.dumps(tokens), "utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": SHAPE["max_position_embeddings"],
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    (folder / "config.json").write_text(json.dumps(config(vocabulary, shape or SHAPE) | dict(shape or {}), indent=1), "utf-8")
    (folder / "generation_config.json").write_text("{}", "utf-8")
    if shape is None:
        (folder / "model.safetensors").write_bytes(weights(vocabulary, words=len(tokens["model"]["vocab"])))
    return folder


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
