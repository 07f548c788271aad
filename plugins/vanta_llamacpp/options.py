"""The options of this plugin's engine (`tracks.NAME.options`) and embedder
(`memory.embedder_options`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


_Threads = Annotated[
    int | None,
    Field(
        ge=1,
        le=512,
        description="threads that compute; None: all cores, fewer while other processes need them",
    ),
]
_GpuLayers = Annotated[
    int | None,
    Field(ge=0, description="layers to offload to a GPU; None: all of them if there is a GPU"),
]


class LlamaCppOptions(BaseModel):
    """How to run a model. The defaults fit most machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: _Threads = None
    prefill_chunk: int = Field(
        default=64, ge=8, le=4096, description="maximum number of prompt tokens in one step"
    )
    parallel: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="requests served at once, each with a window of its own in the KV cache; "
        "None: as many as fit into 1 GiB, at most 16",
    )
    queue: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="maximum number of waiting requests; one more is refused as overloaded",
    )
    gpu_layers: _GpuLayers = None
    reuse_prefix: bool = Field(
        default=True,
        description="keep the KV cache of common prompt prefixes between turns and sessions",
    )
    cache_dir: Annotated[Path, AfterValidator(_expand_home)] | None = Field(
        default=None,
        description="folder for the KV caches of sessions, reused after a restart; as private as "
        "the transcripts, about 20 to 200 KB per token; None: nothing is saved",
    )
    cache_bytes: int = Field(
        default=4 << 30,
        ge=0,
        description="maximum bytes in 'cache_dir'; the least recently used files are removed first",
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="maximum bytes of all models of this process, this one included; the least "
        "recently used are unloaded first; None: as many as the system has free",
    )
    pinned: bool = Field(
        default=False, description="keep the model loaded even if another model needs its memory"
    )
    flash_attention: bool | None = Field(
        default=None,
        description="llama.cpp's flash attention; None: with a GPU only. On a CPU it decodes up to "
        "a fifth faster when many requests are served at once, but prefills a long history at two "
        "thirds of the speed, and a reply may then depend on the other requests",
    )
    amx: bool = Field(
        default=False,
        description="compute with AMX tiles if the build has them; off, since such builds crash "
        "the process on many machines (github.com/ggml-org/llama.cpp/pull/26954)",
    )


class LlamaCppEmbedderOptions(BaseModel):
    """How to run the embedding model of the memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: _Threads = None
    gpu_layers: _GpuLayers = None
