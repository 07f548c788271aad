"""A model in memory with its context: loaded, decoded on, freed, all by the worker's thread.

Invariant: whatever was allocated is freed exactly once, by `close`, in llama.cpp's order (batch,
context, model), after the last user of the vocabulary has left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vanta.engine import ModelFile
from vanta.errors import ErrorKind
from vanta.models import Fit
from vanta.models.fit import Shape, attention, judge
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.header_checks import ModelFacts
from vanta_llamacpp.model.kv_disk import SavedPrefixes
from vanta_llamacpp.model.native import (
    AbortFlag,
    build,
    built_with_amx,
    complaint,
    cores,
    library,
    overheard,
)
from vanta_llamacpp.model.vocabulary import Vocabulary
from vanta_llamacpp.options import LlamaCppOptions
from vanta_llamacpp.worker.batch import Batch
from vanta_llamacpp.worker.slots import Slots

DEFAULT_WINDOW = 8192
CACHE_BUDGET = 1 << 30
MOST_PARALLEL = 16
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers")


class Aborted(Exception):  # noqa: N818 - not a fault: somebody asked for it
    """A decode was ended by the abort flag; what it had read is to be rewound."""


@dataclass(frozen=True, slots=True)
class Loadable:
    """All that is needed to load: the file, what its header says, and how to run it."""

    file: ModelFile
    facts: ModelFacts
    options: LlamaCppOptions
    window: int | None
    faults: Faults


class Model:
    """A loaded model. Only `vocabulary`, `window`, `facts` and `file` may be used by others."""

    def __init__(
        self, lib: Any, plan: Loadable, native: Any, context: Any, abort: AbortFlag
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
        self.plain_attention = _plain_attention(lib, plan.options)
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
        """How many cells of one row's attention take as long as a pass over the weights; None with
        flash attention, which leaves out the cells of others. A quarter of the bytes' ratio: the
        weights are read, attention is computed (measured with 135M parameters)."""
        each = 4 * self.facts.kv_bytes_per_token
        return self.facts.size // each if each and self.plain_attention else None

    @property
    def threads(self) -> int:
        """The threads that compute."""
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


def load(lib: Any, plan: Loadable, abort: AbortFlag, go_on: Callable[[], bool]) -> Model:
    """Load the model; blocking. Gives up soon after `go_on` says False. Raises EngineError."""
    with overheard() as lines:
        native = _load_native(lib, plan, go_on)
        if not native:
            raise plan.faults.not_loaded(
                f"llama.cpp refused the file: {complaint(lines)}",
                "Check it with 'vanta models verify', or fetch it again.",
            )
        context = lib.llama_init_from_model(native, _context_params(lib, plan))
        if not context:
            lib.llama_model_free(native)
            raise plan.faults.not_loaded(
                f"no context of {_window(plan)} tokens could be made: {complaint(lines)}",
                "Lower the track's 'window', or use a smaller model.",
            )
    abort.install(lib, context)
    try:
        model = Model(lib, plan, native, context, abort)
    except BaseException:
        lib.llama_free(context)
        lib.llama_model_free(native)
        raise
    model.gpu_layers = _offloaded(lines)
    return model


def need(plan: Loadable) -> int:
    """The bytes of RAM that the model takes, without what a GPU takes of it."""
    return fits(plan, None).need_bytes or 0


def fits(plan: Loadable, free_bytes: int | None) -> Fit:
    """Whether file, KV cache and buffers fit into `free_bytes` of RAM, with the arithmetic.

    Layers on a GPU are left out. What the GPU itself has free is not checked, since llama.cpp's
    Python bindings do not say: llama.cpp then refuses the model while it loads.
    """
    lib = library()
    plain = _plain_attention(lib, plan.options)
    shape = Shape(
        file_bytes=plan.facts.size,
        kv_bytes_per_token=plan.facts.kv_bytes_per_token,
        vocabulary=plan.facts.vocabulary,
        window=_window(plan) * parallel(plan),
        attention_bytes=attention(_step(plan), _window(plan), plan.facts.heads) if plain else 0,
        layers=plan.facts.layers,
        gpu_layers=layers_on_gpu(plan, offloads=lib.llama_supports_gpu_offload()),
    )
    return judge(shape, free_bytes)


def layers_on_gpu(plan: Loadable, *, offloads: bool) -> int:
    """How many layers go to a GPU, 0 to all of them. offloads: whether there is one for them."""
    asked = plan.options.gpu_layers
    layers = plan.facts.layers
    return min(layers, layers if asked is None else asked) if offloads else 0


def check_plan(lib: Any, plan: Loadable) -> None:
    """Raise EngineError for what no memory could mend."""
    if plan.window is not None and plan.window > plan.facts.window:
        raise plan.faults.not_loaded(
            f"a window of {plan.window} tokens is asked of a model that was made for "
            f"{plan.facts.window}",
            f"Set the track's 'window' to {plan.facts.window} or less.",
        )
    if plan.options.gpu_layers and not lib.llama_supports_gpu_offload():
        raise plan.faults.error(
            ErrorKind.UNSUPPORTED,
            f"{plan.options.gpu_layers} layers are to go to a GPU, but this build of "
            "llama-cpp-python has none",
            "Leave out 'gpu_layers', or rebuild it with CMAKE_ARGS='-DGGML_CUDA=on'.",
        )


def model_params(lib: Any, options: LlamaCppOptions) -> Any:
    """How the weights are loaded. The extra buffers are where AMX weights lie: without them there
    is no AMX, and without AMX they only help."""
    params = lib.llama_model_default_params()
    params.n_gpu_layers = -1 if options.gpu_layers is None else options.gpu_layers
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    params.use_extra_bufts = options.amx or not built_with_amx(lib)
    return params


def _load_native(lib: Any, plan: Loadable, go_on: Callable[[], bool]) -> Any:
    params = model_params(lib, plan.options)
    progress = lib.llama_progress_callback(lambda _progress, _data: go_on())
    params.progress_callback = progress
    return lib.llama_model_load_from_file(_encoded(plan.file.path), params)


def _encoded(path: Path) -> bytes:
    return str(path).encode("utf-8", "surrogateescape")


def _window(plan: Loadable) -> int:
    return plan.window or min(plan.facts.window, DEFAULT_WINDOW)


def parallel(plan: Loadable) -> int:
    """How many sequences the KV cache has room for, a whole window each.

    Asked for, or as many as CACHE_BUDGET holds: budget // (window x bytes per token), 1 to 16.
    Each has cells of its own (not llama.cpp's unified cache), so that nobody's attention walks
    over the others' cells and their order is always that of the tokens.
    """
    if plan.options.parallel is not None:
        return plan.options.parallel
    each = _window(plan) * plan.facts.kv_bytes_per_token
    return max(1, min(MOST_PARALLEL, CACHE_BUDGET // each)) if each else 4


def _disk(lib: Any, plan: Loadable, context: Any) -> SavedPrefixes | None:
    options = plan.options
    if options.cache_dir is None:
        return None
    attention = _plain_attention(lib, options)
    parameters = (build(lib), _window(plan), parallel(plan), options.gpu_layers, attention)
    return SavedPrefixes(
        options.cache_dir,
        lib,
        context,
        model=plan.file.path,
        parameters=repr(parameters),
        most_bytes=options.cache_bytes,
    )


def _chunk(plan: Loadable) -> int:
    return min(plan.options.prefill_chunk, _window(plan))


def _step(plan: Loadable) -> int:
    """The tokens of one step, at the most: a chunk of a prompt, or one of each who is served."""
    return max(_chunk(plan), parallel(plan))


def _context_params(lib: Any, plan: Loadable) -> Any:
    params = lib.llama_context_default_params()
    sequences = parallel(plan)
    threads = plan.options.threads or cores()
    params.n_ctx = _window(plan) * sequences
    params.n_batch = params.n_ubatch = _step(plan)
    params.n_seq_max = sequences
    params.kv_unified = False
    if _plain_attention(lib, plan.options):
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    elif plan.options.flash_attention:
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.n_threads = params.n_threads_batch = threads
    params.no_perf = True
    return params


def _plain_attention(lib: Any, options: LlamaCppOptions) -> bool:
    """Whether to do without flash attention. On a processor its sums depend on how many tokens a
    step has and how many sequences (see `slots`), and it reads a few tokens upon many slowly: 60
    upon 2,000 in 520 ms in place of 360. It writes faster: 16 at once in 66 ms in place of 80."""
    if options.flash_attention is None:
        return not lib.llama_supports_gpu_offload()
    return not options.flash_attention


def _offloaded(lines: list[tuple[int, str]]) -> int:
    """The layers that really are on a GPU, as llama.cpp reports them (0 on a CPU build)."""
    found = [match for _, line in lines if (match := _OFFLOADED.search(line))]
    return int(found[-1][1]) if found else 0
