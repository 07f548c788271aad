"""The child process that tries a model file: loads it, tokenizes, and computes a few tokens.

Run as a script with a task on stdin; imports nothing of vanta and as little as possible of
llama-cpp-python, so that it starts in a tenth of a second. It answers with one line of JSON on
stdout. Invariant: it ends by itself when its time is over or when stdin is closed, which happens
when the parent is gone, however that went.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import importlib.util
import itertools
import json
import math
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

_ERROR_LEVEL = 3
_CHUNK = 4096
_BATCH = 32
_SEQUENCES = 2
_CONTEXT = 512
_NO_POOLING = {0, 4}
_NEW_NETWORK = 0x40000000 | 0x10000000
"""CLONE_NEWNET | CLONE_NEWUSER of Linux's sched.h: no network, without any rights for that."""


class UnfitError(Exception):
    """The file cannot be used, in words for the parent's message."""


def main() -> None:
    """Try the file of the task on stdin and answer on stdout."""
    task = json.loads(sys.stdin.readline())
    _limit(task["seconds"], task["memory_bytes"])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        _try(_library(task["paths"]), task)
        result: dict[str, str | None] = {"fault": None}
    except UnfitError as error:
        result = {"fault": str(error)}
    os.write(answer, json.dumps(result).encode() + b"\n")
    sys.stderr.flush()
    os._exit(0)  # nothing of llama.cpp's own cleaning up decides on a file


def _limit(seconds: float, memory_bytes: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    faulthandler.dump_traceback_later(seconds, exit=True)
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).unshare(_NEW_NETWORK)  # where the system allows it


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _library(paths: list[str]) -> Any:
    """Import the bindings alone: their package's front would import numpy and more."""
    sys.path[:] = paths
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.submodule_search_locations is None:
        raise UnfitError("the library llama-cpp-python is not found")
    package = types.ModuleType("llama_cpp")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


def _try(lib: Any, task: dict[str, Any]) -> None:
    errors: list[str] = []

    def log(level: int, text: bytes | None, _data: object) -> None:
        line = (text or b"").decode("utf-8", "replace").strip()
        if level == _ERROR_LEVEL and line:
            errors.append(line)

    callback = lib.llama_log_callback(log)
    lib.llama_log_set(callback, None)
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    params.use_extra_bufts = False
    model = lib.llama_model_load_from_file(os.fsencode(task["file"]), params)
    if not model:
        raise UnfitError(f"llama.cpp refused the file: {(errors or ['it gave no reason'])[0]}")
    tokens = _read_texts(lib, lib.llama_model_get_vocab(model))
    if not task["encoder"]:
        _compute(lib, model, task, tokens, embeddings=False, errors=errors)
    if task["encoder"] or task["pools"]:
        _compute(lib, model, task, tokens, embeddings=True, errors=errors)


def _read_texts(lib: Any, vocabulary: Any) -> list[int]:
    """Tokenize every character that a token can lack, and spell every token."""
    tokens: list[int] = []
    for document in (True, False):
        tokens = _tokens(lib, vocabulary, "Hi  there\0\n\t 12", document=document) or tokens
    for text in _texts():
        _tokens(lib, vocabulary, text, document=False)
    buffer = ctypes.create_string_buffer(256)
    for token in range(lib.llama_vocab_n_tokens(vocabulary)):
        lib.llama_vocab_get_attr(vocabulary, token)
        lib.llama_token_to_piece(vocabulary, token, buffer, 256, 0, True)
    lib.llama_vocab_is_eog(vocabulary, 0)
    return (tokens or [0])[:8]


def _texts() -> Iterator[str]:
    """Yield all of Unicode's first plane and samples of the others: every byte of UTF-8."""
    planes = range(0x10000, 0x110000, 0x3FD)
    characters = (chr(code) for code in itertools.chain(range(0xD800), range(0xE000, 0x10000)))
    while text := "".join(itertools.islice(characters, _CHUNK)):
        yield text
    yield "".join(map(chr, planes))


def _tokens(lib: Any, vocabulary: Any, text: str, *, document: bool) -> list[int]:
    data = text.encode()
    room = len(data) + 16
    found = (ctypes.c_int32 * room)()
    count = lib.llama_tokenize(vocabulary, data, len(data), found, room, document, not document)
    if count < 0:
        raise UnfitError(f"the tokenizer failed on {len(data)} bytes of text")
    return found[:count]


def _compute(
    lib: Any, model: Any, task: dict[str, Any], tokens: list[int], *, embeddings: bool,
    errors: list[str],
) -> None:  # fmt: skip
    """Compute two sequences in three steps: many tokens, one more, and another sequence."""
    params = lib.llama_context_default_params()
    params.n_ctx = min(task["window"], _CONTEXT) * _SEQUENCES
    params.n_batch = params.n_ubatch = _BATCH
    params.n_seq_max = _SEQUENCES
    params.kv_unified = embeddings
    params.embeddings = embeddings
    params.n_threads = params.n_threads_batch = 1  # threads would wait for busy cores
    params.no_perf = True
    if task["plain_attention"] and not embeddings:
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    errors.clear()
    context = lib.llama_init_from_model(model, params)
    if not context:
        raise UnfitError(f"llama.cpp makes no context: {(errors or ['it gave no reason'])[0]}")
    if embeddings and lib.llama_pooling_type(context) in _NO_POOLING:
        return
    run = lib.llama_encode if task["encoder"] else lib.llama_decode
    steps = [(tokens, 0, 0), (tokens, 0, 1)] if embeddings else [
        (tokens, 0, 0), (tokens[-1:], len(tokens), 0), (tokens[:3], 0, 1)
    ]  # fmt: skip
    for step, position, sequence in steps:
        batch = _batch(lib, step, position, sequence, every=embeddings)
        if code := run(context, batch):
            raise UnfitError(f"llama.cpp failed with code {code} on a few tokens")
        if embeddings:
            width = lib.llama_model_n_embd(model)
            _check_finite(lib.llama_get_embeddings_seq(context, sequence), width, "vectors")
        else:
            count = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
            _check_finite(lib.llama_get_logits_ith(context, len(step) - 1), count, "logits")


def _batch(lib: Any, tokens: list[int], position: int, sequence: int, *, every: bool) -> Any:
    batch = lib.llama_batch_init(_BATCH, 0, 1)
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index] = token
        batch.pos[index] = position + index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = sequence
        batch.logits[index] = every or index == len(tokens) - 1
    return batch


def _check_finite(numbers: Any, count: int, what: str) -> None:
    """Refuse NaN and infinity; a model may forbid tokens with minus infinity, but not all."""
    if not numbers:
        raise UnfitError(f"the model computes no {what}")
    values = numbers[:count]
    if any(math.isnan(value) or value == math.inf for value in values) or not any(
        map(math.isfinite, values)
    ):
        raise UnfitError(f"the model's {what} are not finite numbers: its weights are damaged")


if __name__ == "__main__":
    main()
