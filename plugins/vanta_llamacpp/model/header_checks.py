"""What a GGUF header says of its model, and whether it makes sense.

llama.cpp divides by and allocates from these numbers with few checks, and its assertions end the
process. Invariant: `facts_of` either returns numbers that agree with each other and with the
tensors, or raises `GgufFault` naming the key. What llama.cpp asserts of every model's header
(`load_hparams` of its src/llama-model.cpp) is asked here first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vanta.models.gguf import Array, Gguf, GgufFault
from vanta.models.header import kv_bytes
from vanta.models.quantisation import FILE_TYPES
from vanta.models.tokenizer import fault_of

_STRINGS, _INT32S, _FLOATS = 8, 5, 6
_MOST = {"block_count": 512, "context_length": 1 << 31, "embedding_length": 1 << 20}
"""The layers are LLAMA_MAX_LAYERS (llama-hparams.h)."""
_MOST_EXPERTS = 1024
_MOST_POOLING = 4
_SOME_LAYERS = ("nextn_predict_layers", "posnet.block_count", "convnext.block_count")
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_ONE_EXPERT_IS_NONE = frozenset({"hunyuan-dense", "hunyuan_vl"})
_EXPERTS_NEEDED = frozenset(
    {"bailingmoe2", "glm4moe", "grovemoe", "lfm2moe", "llada-moe", "smallthinker"}
)
_ONE_HEAD_SIZE = frozenset(
    (
        *("afmoe", "apertus", "arcee", "arctic", "baichuan", "bailingmoe2", "bert", "bitnet"),
        *("bloom", "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "command-r", "dbrx"),
        *("deci", "deepseek", "dots1", "dream", "ernie4_5", "ernie4_5-moe", "eurobert", "exaone"),
        *("falcon", "glm4", "gpt2", "gptneox", "granite", "granite_swa", "granitehybrid"),
        *("granitemoe", "graniteswitch", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe"),
        *("hunyuan_vl", "internlm2", "jais", "jais2", "jina-bert-v2", "jina-bert-v3", "laguna"),
        *("llada", "llada-moe", "llama", "llama-embed", "llama4", "maincoder", "mellum"),
        *("minimax-01", "minimax-m2", "minimax-m3", "mistral3", "modern-bert", "mpt", "nanbeige"),
        *("nemotron", "nemotron_h", "nemotron_h_moe", "neo-bert", "nomic-bert", "nomic-bert-moe"),
        *("olmo", "olmo2", "olmoe", "openelm", "orion", "paddleocr", "pangu-embedded", "phi2"),
        *("phi3", "plamo", "pockettts", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3"),
        *("qwen3moe", "qwen3vl", "qwen3vlmoe", "refact", "rnd1", "seed_oss", "smallthinker"),
        *("smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2", "xverse"),
        *("minicpm", "phimoe"),  # with the graphs of granite and phi3
    )
)
"""Architectures whose graphs assert that keys and values are of one size (src/models)."""
_HEADLESS = frozenset({"mamba", "mamba2"})
"""Architectures without attention: their files say that they have 0 heads."""
_WHOLE_ROPE = frozenset(
    {"internlm2", "llama", "mistral3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "smollm3"}
)
"""Of those, the ones met most whose graphs assert that all of a head is rotated."""
_TOKEN_IDS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")  # sic
_BERT_IDS = {"bos": 101, "unknown": 100, "seperator": 102, "mask": 103}
"""What llama.cpp takes where a BERT file does not say (llama-vocab.cpp)."""
_BPE = frozenset({"gpt2", "hybriddna", "whitespace", "gemma4"})
_USUAL_IDS = {"llama": (1, 2), "t5": (None, 1), "gemma4": (None, None)}
"""The first and the last token of a text, where the file does not say; (11, 11) for others."""
_NO_FIRST = frozenset({"chatglm-bpe", "glm4", "glm5"})
"""Pre-tokenizers that know no first token of their own."""
_ALWAYS_FIRST = frozenset({"gemma4", "granite-embed-multi-311m"})
_USUALLY_FIRST = _ALWAYS_FIRST | {
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    *("jina-v5-nano", "tekken", "chameleon"),
}
"""Pre-tokenizers that put the first token before every text, unless the file says no."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its file describes it. window in tokens, size in bytes. kv_bytes_per_token: at
    16 bits. encoder: it reads a text from both ends, as BERT does: vectors come out, no answers.
    heads: attention heads of the layer that has most."""

    name: str
    architecture: str
    window: int
    layers: int
    parameters: int
    quantisation: str
    size: int
    chat_template: str | None
    kv_bytes_per_token: int = 0
    vocabulary: int | None = None
    encoder: bool = False
    heads: int = 0

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, without the template's text."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "window": self.window,
            "layers": self.layers,
            "parameters": self.parameters,
            "quantisation": self.quantisation,
            "size_bytes": self.size,
            "encoder": self.encoder,
            "has_chat_template": self.chat_template is not None,
        }


def facts_of(header: Gguf) -> ModelFacts:
    """The model that `header` describes. Raises GgufFault."""
    architecture = _text(header, "general.architecture")
    if architecture is None:
        raise GgufFault("'general.architecture' is missing: not a model that can be run")
    if _number(header, "split.count", 1) > 1:
        raise GgufFault("it is one part of a split model; merge it with llama-gguf-split --merge")
    numbers = {
        key: _between(header, f"{architecture}.{key}", 1, most) for key, most in _MOST.items()
    }
    _check_heads(header, architecture, numbers["embedding_length"])
    _check_head_size(header, architecture, numbers["embedding_length"])
    _check_layers(header, architecture, numbers["block_count"])
    _check_sliding(header, architecture)
    _check_experts(header, architecture)
    _check_vocabulary(header, numbers["embedding_length"])
    _check_tokenizer(header)
    kind = _number(header, "general.file_type", -1)
    encoder = header.metadata.get(f"{architecture}.attention.causal") is False
    return ModelFacts(
        name=_text(header, "general.name") or architecture,
        architecture=architecture,
        window=numbers["context_length"],
        layers=numbers["block_count"],
        parameters=sum(math.prod(tensor.shape) for tensor in header.tensors.values()),
        quantisation=FILE_TYPES.get(kind, f"type {kind}"),
        size=header.file_size,
        chat_template=_text(header, "tokenizer.chat_template"),
        kv_bytes_per_token=0 if encoder else kv_bytes(header.metadata) or 0,
        vocabulary=header.tensors["token_embd.weight"].shape[1],
        encoder=encoder,
        heads=max(
            each
            for each in (0, *_each(header, f"{architecture}.attention.head_count"))
            if isinstance(each, int)
        ),
    )


def _text(header: Gguf, key: str) -> str | None:
    value = header.metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise GgufFault(f"{key!r} is {value!r}, not a string")
    return value


def _number(header: Gguf, key: str, default: int) -> int:
    value = header.metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise GgufFault(f"{key!r} is {value!r}, not a whole number")
    return value


def _between(header: Gguf, key: str, least: int, most: int) -> int:
    if key not in header.metadata:
        raise GgufFault(f"{key!r} is missing")
    return _within(key, _number(header, key, 0), least, most)


def _within(key: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise GgufFault(f"{key!r} is {value}; {least} to {most} make sense")
    return value


def _each(header: Gguf, key: str) -> tuple[object, ...]:
    """What may be given once or layer by layer; () where it is not said."""
    value = header.metadata.get(key)
    if isinstance(value, Array):
        return value.items
    return () if value is None else (value,)


def _check_heads(header: Gguf, architecture: str, embedding: int) -> None:
    """Heads may be given once or layer by layer (0 for a layer without attention)."""
    for key in ("attention.head_count", "attention.head_count_kv"):
        full = f"{architecture}.{key}"
        for item in _each(header, full):
            if not isinstance(item, int) or not 0 <= item <= embedding:
                raise GgufFault(f"{full!r} is {item!r}; 0 to {embedding} make sense")
        headless = architecture in _HEADLESS or key != "attention.head_count"
        if header.metadata.get(full) == 0 and not headless:
            raise GgufFault(f"{full!r} is 0")
    _check_shared_heads(header, architecture)


def _check_shared_heads(header: Gguf, architecture: str) -> None:
    """As many heads have to share each KV head."""
    key = f"{architecture}.attention.head_count_kv"
    heads, shared = _each(header, f"{architecture}.attention.head_count"), _each(header, key)
    layers = max(len(heads), len(shared))
    if len(heads) == 1:
        heads *= layers
    if len(shared) == 1:
        shared *= layers
    for many, few in zip(heads, shared, strict=False):
        if isinstance(many, int) and isinstance(few, int) and few and many % few:
            raise GgufFault(f"{key!r} is {few}, among which {many} heads cannot be parted")


def _check_head_size(header: Gguf, architecture: str, embedding: int) -> None:
    """The numbers of one head, where the first layer has any; those of layers with a sliding
    window may be others."""
    heads = _each(header, f"{architecture}.attention.head_count")
    if not heads or not isinstance(heads[0], int) or not heads[0]:
        return
    keys = values = embedding // heads[0]
    turned = None
    for kind in ("", "_swa"):
        keys = _number(header, f"{architecture}.attention.key_length{kind}", keys)
        values = _number(header, f"{architecture}.attention.value_length{kind}", values)
        if architecture in _ONE_HEAD_SIZE and keys != values:
            raise GgufFault(
                f"a head of {architecture!r} has {keys} numbers a key and {values} a value"
            )
        name = f"{architecture}.rope.dimension_count{kind}"
        turned = _number(header, name, keys if turned is None else turned)
        _check_rotated(architecture, name, turned, keys, stated=name in header.metadata)


def _check_rotated(architecture: str, name: str, turned: int, keys: int, *, stated: bool) -> None:
    """Numbers of a head are rotated two by two."""
    if architecture in _WHOLE_ROPE and turned != keys:
        raise GgufFault(f"{name!r} is {turned}; {keys} makes sense")
    if stated:
        _within(name, turned, 2, keys)
    if turned % 2 and (stated or architecture in _WHOLE_ROPE):
        raise GgufFault(f"{name!r} is {turned}; an even number makes sense")


def _check_layers(header: Gguf, architecture: str, layers: int) -> None:
    """What is said of some layers, and how layers and vectors are made."""
    for name in _SOME_LAYERS:
        key = f"{architecture}.{name}"
        _within(key, _number(header, key, 0), 0, layers)
    key = f"{architecture}.pooling_type"
    _within(key, _number(header, key, 0), 0, _MOST_POOLING)
    key = f"{architecture}.rope.scaling.type"
    scaling = _text(header, key)
    if scaling not in {None, *_ROPE_SCALINGS}:
        raise GgufFault(f"{key!r} is {scaling!r}; one of {_ROPE_SCALINGS} makes sense")


def _check_sliding(header: Gguf, architecture: str) -> None:
    """Where windows slide, in all layers but every nth or in those named, one at least does."""
    key = f"{architecture}.attention.sliding_window_pattern"
    pattern = _each(header, key)
    listed = isinstance(header.metadata.get(key), Array)
    none = not any(pattern) if listed else pattern == (1,)
    if pattern and none and header.metadata.get(f"{architecture}.attention.sliding_window"):
        raise GgufFault(f"{key!r} leaves no layer with a sliding window, and there is to be one")


def _check_experts(header: Gguf, architecture: str) -> None:
    """How many there are, how many of them a token goes through, and how they are grouped."""
    key = f"{architecture}.expert_count"
    least = 1 if architecture in _EXPERTS_NEEDED else 0
    experts = _within(key, _number(header, key, 0), least, _MOST_EXPERTS)
    none = experts <= 1 and architecture in _ONE_EXPERT_IS_NONE
    if not none:
        _check_experts_used(header, f"{architecture}.expert_used_count", experts)
    key = f"{architecture}.expert_group_count"
    most = 0 if none else max(0, experts - 1)
    groups = _within(key, _number(header, key, 0), 0, most)
    if groups > 1:
        if experts % groups:
            raise GgufFault(f"{key!r} is {groups}, into which {experts} experts cannot be parted")
        key = f"{architecture}.expert_group_used_count"
        _within(key, _number(header, key, 0), 1, groups - 1)


def _check_experts_used(header: Gguf, key: str, experts: int) -> None:
    """Given once or layer by layer, 0 for a layer without experts."""
    used = 0
    for item in _each(header, key):
        if not isinstance(item, int):
            raise GgufFault(f"{key!r} is {item!r}, not a whole number")
        used = max(used, _within(key, item, 0, experts))
    _within(key, used, min(1, experts), experts)


def _check_vocabulary(header: Gguf, embedding: int) -> None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, Array) or tokens.type != _STRINGS or not tokens.count:
        raise GgufFault("'tokenizer.ggml.tokens' is no list of strings: the vocabulary is missing")
    for key, kind in (("token_type", _INT32S), ("scores", _FLOATS)):
        beside = header.metadata.get(f"tokenizer.ggml.{key}")
        if beside is not None and (
            not isinstance(beside, Array) or (beside.type, beside.count) != (kind, tokens.count)
        ):
            raise GgufFault(f"'tokenizer.ggml.{key}' does not fit the {tokens.count} tokens")
    merges = header.metadata.get("tokenizer.ggml.merges")
    if merges is not None and (not isinstance(merges, Array) or merges.type != _STRINGS):
        raise GgufFault("'tokenizer.ggml.merges' is no list of strings")
    usual = _BERT_IDS if header.metadata.get("tokenizer.ggml.model") == "bert" else {}
    for name in _TOKEN_IDS:
        key = f"tokenizer.ggml.{name}_token_id"
        found = _number(header, key, usual.get(name, 0))
        if not 0 <= found < tokens.count:
            raise GgufFault(f"{key!r} is {found}, beyond {tokens.count} tokens")
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings is None or embeddings.shape[:2] != (embedding, tokens.count):
        shape = embeddings.shape if embeddings else None
        raise GgufFault(
            f"the tensor 'token_embd.weight' has the shape {shape}; "
            f"{(embedding, tokens.count)} was expected"
        )


def _check_tokenizer(header: Gguf) -> None:
    """What makes llama.cpp's tokenizer end the process, at loading or in the middle of a text."""
    model = _text(header, "tokenizer.ggml.model")
    if model in {"none", "no_vocab"}:
        raise GgufFault(f"'tokenizer.ggml.model' is {model!r}: no text can be read")
    before = _text(header, "tokenizer.ggml.pre")
    if before == "whitespace" and model in _BPE - {before, "gemma4"}:
        raise GgufFault(f"'tokenizer.ggml.pre' is {before!r}, and 'tokenizer.ggml.model' {model!r}")
    fault = fault_of(model, header.tokenizer)
    if fault is not None:
        raise GgufFault(fault)
    if model in _BPE or model in _USUAL_IDS:
        _check_ends(header, model, "" if before is None else before)


def _check_ends(header: Gguf, model: str, before: str) -> None:
    """A token that the tokenizer puts before or after a text has to be known."""
    if model == "gemma4":
        before = model
    first, last = _USUAL_IDS.get(model, (11, 11))
    usual = {"bos": None if before in _NO_FIRST else first, "eos": last}
    added = {
        "bos": model == "llama" or (model in _BPE and before in _USUALLY_FIRST),
        "eos": model == "t5",
    }
    tokens = header.metadata["tokenizer.ggml.tokens"]
    for name, token in usual.items():
        key = f"tokenizer.ggml.{name}_token_id"
        wanted = header.metadata.get(f"tokenizer.ggml.add_{name}_token", added[name])
        if name == "bos" and model in _BPE and before in _ALWAYS_FIRST:
            wanted = True
        known = key in header.metadata or (
            token is not None and isinstance(tokens, Array) and token < tokens.count
        )
        if wanted is True and not known:
            raise GgufFault(f"{key!r} is missing, and every text is to have it")
