"""The loaded model: its file, memory, vocabulary, batch, and the sequences of its KV cache.

Invariant: an unknown file is checked and tried in a child process before it is loaded here, and
only the worker's thread uses a loaded model; other threads may tokenize.
"""

from __future__ import annotations

from vanta_llamacpp.model.batch import Batch
from vanta_llamacpp.model.header_checks import ModelFacts, facts_of
from vanta_llamacpp.model.kv_disk import remove_all
from vanta_llamacpp.model.loading import Loader, locate
from vanta_llamacpp.model.model import Aborted, LlamaModel
from vanta_llamacpp.model.model_memory import LoadedModel, model_memory
from vanta_llamacpp.model.native import AbortFlag, cores, others_running, release_helpers
from vanta_llamacpp.model.slots import (
    EXACT_ROWS,
    NO_OWNER,
    PromptOwner,
    Slot,
    Slots,
    common_prefix,
)
from vanta_llamacpp.model.vocabulary import (
    PYTHON,
    Vocabulary,
)

__all__ = [
    "EXACT_ROWS",
    "NO_OWNER",
    "PYTHON",
    "AbortFlag",
    "Aborted",
    "Batch",
    "LlamaModel",
    "LoadedModel",
    "Loader",
    "ModelFacts",
    "PromptOwner",
    "Slot",
    "Slots",
    "Vocabulary",
    "common_prefix",
    "cores",
    "facts_of",
    "locate",
    "model_memory",
    "others_running",
    "release_helpers",
    "remove_all",
]
