"""A model in memory with its context: loaded, decoded and freed by the worker's thread.

Invariant: every allocation is freed exactly once, by `close`, in llama.cpp's order (batch, context,
model), after the last use of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vanta import ErrorKind, ModelFile
from vanta.models import Fit, ModelShape, attention_bytes, judge
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.batch import Batch
from vanta_llamacpp.model.header_checks import ModelFacts
from vanta_llamacpp.model.kv_disk import SavedPrefixes
from vanta_llamacpp.model.native import (
    AbortFlag,
    build,
    built_with_amx,
    captured_log,
    cores,
    first_error,
    library,
)
from vanta_llamacpp.model.slots import Slots
from vanta_llamacpp.model.vocabulary import Vocabulary
from vanta_llamacpp.options import LlamaCppOptions

DEFAULT_WINDOW = 8192
CACHE_BUDGET = 1 << 30
MOST_PARALLEL = 16
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers")


class Aborted(Exception):  # noqa: N818 - a requested end, not an error
    """The abort flag ended a decode; its tokens must be removed from the KV cache."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Everything needed to load a model: the file, the facts of its header, and options."""

    file: ModelFile
    facts: ModelFacts
    options: LlamaCppOptions
    window: int | None
    faults: Faults


class LlamaModel:
    """A loaded model. Other threads may use only `vocabulary`, `window`, `facts` and `file`."""

    def __init__(
        self, lib: Any, plan: LoadPlan, native: Any, context: Any, abort: AbortFlag
    ) -> None:
        self.lib = lib
        self.file = plan.file
        self.facts = plan.facts
        self.faults = plan.faults
        self.native = native
        self.context = context
        self.abort = abort
        self.window = _window(plan)
        self.gpu_layers = 0
        self.plain_attention = plain_attention(lib, plan.options)
        self.adapts = plan.options.threads is None
        self.vocabulary = Vocabulary(lib, lib.llama_model_get_vocab(native), plan.faults)
        self.chunk = _chunk(plan)
        self.batch = Batch(lib, int(lib.llama_n_batch(context)))
        self.slots = Slots(
            lib,
            context,
            count=parallel(plan),
            reuse=plan.options.reuse_prefix,
            disk=_disk(lib, plan, context),
            sliding=lib.llama_model_n_swa(native) > 0,
        )

    @property
    def pass_cells(self) -> int | None:
        """The cells of one row's attention that cost as much as a pass over the weights.

        None with flash attention, which skips the cells of other sequences. A quarter of the
        bytes' ratio: weights are read, attention is computed (measured with 135M parameters).
        """
        cell = 4 * self.facts.kv_bytes_per_token
        return self.facts.size // cell if cell and self.plain_attention else None

    @property
    def threads(self) -> int:
        """The number of threads that compute."""
        return int(self.lib.llama_n_threads(self.context))

    def use_threads(self, count: int) -> None:
        """Compute with `count` threads from the next step on."""
        if count != self.threads:
            self.lib.llama_set_n_threads(self.context, count, count)

    def decode(self) -> None:
        """Run the batch. Raises Aborted, or EngineError when llama.cpp fails."""
        code = self.lib.llama_decode(self.context, self.batch.native)
        if code == 2:
            raise Aborted
        if code:
            raise self.faults.broken(f"llama_decode failed with code {code}")

    def close(self) -> None:
        """Free everything; called once."""
        self.vocabulary.close()
        self.batch.close()
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.native)


def load(lib: Any, plan: LoadPlan, abort: AbortFlag, keep_going: Callable[[], bool]) -> LlamaModel:
    """Load the model. Blocking; stops soon after `keep_going` returns False. Raises EngineError."""
    with captured_log() as lines:
        native = _load_native(lib, plan, keep_going)
        if not native:
            raise plan.faults.not_loaded(
                f"llama.cpp refused the file: {first_error(lines)}",
                "Check it with 'vanta models verify', or fetch it again.",
            )
        context = lib.llama_init_from_model(native, _context_params(lib, plan))
        if not context:
            lib.llama_model_free(native)
            raise plan.faults.not_loaded(
                f"llama.cpp cannot make a context of {_window(plan)} tokens: {first_error(lines)}",
                "Lower the track's 'window', or use a smaller model.",
            )
    abort.install(lib, context)
    try:
        model = LlamaModel(lib, plan, native, context, abort)
    except BaseException:
        lib.llama_free(context)
        lib.llama_model_free(native)
        raise
    model.gpu_layers = offloaded_layers(lines)
    return model


def need(plan: LoadPlan) -> int:
    """Return the bytes of RAM that the model takes, layers on a GPU excluded."""
    return fits(plan, None).need_bytes or 0


def fits(plan: LoadPlan, free_bytes: int | None) -> Fit:
    """Return whether file, KV cache and buffers fit into `free_bytes` of RAM.

    Layers on a GPU are excluded. The GPU's own memory is not checked, since llama.cpp's Python
    bindings do not report it: llama.cpp then refuses the model while it loads.
    """
    lib = library()
    plain = plain_attention(lib, plan.options)
    shape = ModelShape(
        file_bytes=plan.facts.size,
        kv_bytes_per_token=plan.facts.kv_bytes_per_token,
        vocabulary=plan.facts.vocabulary,
        window=_window(plan) * parallel(plan),
        attention_bytes=attention_bytes(_step(plan), _window(plan), plan.facts.heads)
        if plain
        else 0,
        layers=plan.facts.layers,
        gpu_layers=layers_on_gpu(plan, offloads=lib.llama_supports_gpu_offload()),
    )
    return judge(shape, free_bytes)


def layers_on_gpu(plan: LoadPlan, *, offloads: bool) -> int:
    """Return how many layers go to a GPU. `offloads`: the build can use one."""
    configured = plan.options.gpu_layers
    layers = plan.facts.layers
    return min(layers, layers if configured is None else configured) if offloads else 0


def check_plan(lib: Any, plan: LoadPlan) -> None:
    """Raise EngineError for a plan that no amount of memory makes possible."""
    if plan.window is not None and plan.window > plan.facts.window:
        raise plan.faults.not_loaded(
            f"the window of {plan.window} tokens exceeds the model's own of {plan.facts.window}",
            f"Set the track's 'window' to {plan.facts.window} or less.",
        )
    if plan.options.gpu_layers and not lib.llama_supports_gpu_offload():
        raise plan.faults.error(
            ErrorKind.UNSUPPORTED,
            f"gpu_layers is {plan.options.gpu_layers}, but this build of llama-cpp-python cannot "
            "use a GPU",
            "Remove 'gpu_layers', or rebuild it with CMAKE_ARGS='-DGGML_CUDA=on'.",
        )


def model_params(lib: Any, options: LlamaCppOptions) -> Any:
    """Return how the weights are loaded.

    AMX weights lie in the extra buffers: without these there is no AMX, and on a build without AMX
    they only help.
    """
    params = lib.llama_model_default_params()
    params.n_gpu_layers = -1 if options.gpu_layers is None else options.gpu_layers
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    params.use_extra_bufts = options.amx or not built_with_amx(lib)
    return params


def _load_native(lib: Any, plan: LoadPlan, keep_going: Callable[[], bool]) -> Any:
    params = model_params(lib, plan.options)
    progress = lib.llama_progress_callback(lambda _progress, _data: keep_going())
    params.progress_callback = progress
    return lib.llama_model_load_from_file(_encoded(plan.file.path), params)


def _encoded(path: Path) -> bytes:
    return str(path).encode("utf-8", "surrogateescape")


def _window(plan: LoadPlan) -> int:
    return plan.window or min(plan.facts.window, DEFAULT_WINDOW)


def parallel(plan: LoadPlan) -> int:
    """Return how many sequences the KV cache holds, a whole window each.

    As configured, or as many as CACHE_BUDGET holds: budget // (window x bytes per token), 1 to 16.
    Each has cells of its own (not llama.cpp's unified cache), so that attention never reads the
    cells of other sequences and cells are always in the order of the tokens.
    """
    if plan.options.parallel is not None:
        return plan.options.parallel
    size = _window(plan) * plan.facts.kv_bytes_per_token
    return max(1, min(MOST_PARALLEL, CACHE_BUDGET // size)) if size else 4


def _disk(lib: Any, plan: LoadPlan, context: Any) -> SavedPrefixes | None:
    options = plan.options
    if options.cache_dir is None:
        return None
    attention = plain_attention(lib, options)
    parameters = (build(lib), _window(plan), parallel(plan), options.gpu_layers, attention)
    return SavedPrefixes(
        options.cache_dir,
        lib,
        context,
        model=plan.file.path,
        parameters=repr(parameters),
        most_bytes=options.cache_bytes,
    )


def _chunk(plan: LoadPlan) -> int:
    return min(plan.options.prefill_chunk, _window(plan))


def _step(plan: LoadPlan) -> int:
    """Return the most tokens of a step: a chunk of a prompt, or one of each sequence."""
    return max(_chunk(plan), parallel(plan))


def _context_params(lib: Any, plan: LoadPlan) -> Any:
    params = lib.llama_context_default_params()
    sequences = parallel(plan)
    threads = plan.options.threads or cores()
    params.n_ctx = _window(plan) * sequences
    params.n_batch = params.n_ubatch = _step(plan)
    params.n_seq_max = sequences
    params.kv_unified = False
    if plain_attention(lib, plan.options):
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    elif plan.options.flash_attention:
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.n_threads = params.n_threads_batch = threads
    params.no_perf = True
    return params


def plain_attention(lib: Any, options: LlamaCppOptions) -> bool:
    """Return whether to avoid flash attention, as configured or on a CPU.

    On a CPU its sums depend on the number of tokens and sequences of a step (see `slots`), and it
    reads a few tokens after many slowly: 60 after 2,000 in 520 ms instead of 360. It writes faster:
    16 at once in 66 ms instead of 80.
    """
    if options.flash_attention is None:
        return not lib.llama_supports_gpu_offload()
    return not options.flash_attention


def offloaded_layers(lines: list[tuple[int, str]]) -> int:
    """Return the layers on a GPU that llama.cpp reports (0 on a CPU build)."""
    matches = [match for _, line in lines if (match := _OFFLOADED.search(line))]
    return int(matches[-1][1]) if matches else 0
