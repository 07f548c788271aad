"""Models on disk: the registry that knows them and the store that finds, fetches and checks them.

Invariant: no file is believed to be a model before its size and hash were checked, and only
`ModelStore.pull` uses the network.
"""

from vanta.models.entry import Companion, ModelEntry, builtin_entries, parse_registry, read_registry
from vanta.models.files import Progress, locked, sha256_of, write_whole
from vanta.models.fit import Fit, free_memory
from vanta.models.gguf import Gguf, GgufFault
from vanta.models.gguf import read as read_gguf
from vanta.models.header import Header, read_header
from vanta.models.sources import ModelSource
from vanta.models.store import ModelStore, builtin_sources, default_root
from vanta.models.verification import Verification

__all__ = [
    "Companion",
    "Fit",
    "Gguf",
    "GgufFault",
    "Header",
    "ModelEntry",
    "ModelSource",
    "ModelStore",
    "Progress",
    "Verification",
    "builtin_entries",
    "builtin_sources",
    "default_root",
    "free_memory",
    "locked",
    "parse_registry",
    "read_gguf",
    "read_header",
    "read_registry",
    "sha256_of",
    "write_whole",
]
