"""Models on disk: the registry that describes them and the store that fetches and checks them.

Invariant: no file is used as a model before its size was checked, a fetched one only after its hash
was, and only `ModelStore.pull` uses the network.
"""

from vanta.models.entry import (
    CompanionFile,
    ModelEntry,
    builtin_entries,
    parse_registry,
    read_registry,
)
from vanta.models.files import Progress, locked, sha256_of, write_whole
from vanta.models.fit import (
    Fit,
    ModelShape,
    attention_bytes,
    free_memory,
    judge,
    mapped_memory,
    megabytes,
)
from vanta.models.gguf import FILE_TYPES, Gguf, GgufArray, GgufError
from vanta.models.gguf import read as read_gguf
from vanta.models.header import ModelHeader, kv_bytes, read_header
from vanta.models.recommended_sampling import CAREFUL, RecommendedSampling
from vanta.models.sources import ModelFolder, ModelSource
from vanta.models.store import ModelStore, builtin_sources, default_root
from vanta.models.verification import Verification

__all__ = [
    "CAREFUL",
    "FILE_TYPES",
    "CompanionFile",
    "Fit",
    "Gguf",
    "GgufArray",
    "GgufError",
    "ModelEntry",
    "ModelFolder",
    "ModelHeader",
    "ModelShape",
    "ModelSource",
    "ModelStore",
    "Progress",
    "RecommendedSampling",
    "Verification",
    "attention_bytes",
    "builtin_entries",
    "builtin_sources",
    "default_root",
    "free_memory",
    "judge",
    "kv_bytes",
    "locked",
    "mapped_memory",
    "megabytes",
    "parse_registry",
    "read_gguf",
    "read_header",
    "read_registry",
    "sha256_of",
    "write_whole",
]
