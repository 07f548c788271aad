"""What `tracks.NAME.options` may hold for the engine `llamacpp`, and what
`memory.embedder_options` may for the embedder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


class LlamaCppOptions(BaseModel):
    """How a model is run; each has a default that fits most machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="threads for the computation; None: all cores, fewer while others need them",
    )
    prefill_chunk: int = Field(
        default=64, ge=8, le=4096, description="prompt tokens read in one step, at the most"
    )
    parallel: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="requests served at once, each with a window of its own in the KV cache; "
        "None: what fits into 1 GiB, 16 at the most",
    )
    queue: int = Field(
        default=32, ge=1, le=10_000, description="requests that may wait; one more is overloaded"
    )
    gpu_layers: int | None = Field(
        default=None, ge=0, description="layers to offload to a GPU; None: all where there is one"
    )
    reuse_prefix: bool = Field(
        default=True,
        description="keep what prompts have in common, from turn to turn and between sessions",
    )
    cache_dir: Annotated[Path, AfterValidator(_home)] | None = Field(
        default=None,
        description="a folder for what sessions' prompts were computed to, found again after a "
        "restart: as private as the transcripts, some 20 to 200 KB a token; None: nothing is saved",
    )
    cache_bytes: int = Field(
        default=4 << 30,
        ge=0,
        description="bytes in 'cache_dir' at the most; those used longest ago go first",
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="bytes that the models of this process may take in all, this one included: "
        "the least recently used make room; None: as many as the system has free",
    )
    pinned: bool = Field(
        default=False, description="the model stays loaded, whoever else wants its room"
    )
    flash_attention: bool | None = Field(
        default=None,
        description="llama.cpp's flash attention; None: with a GPU only. Processors write up to a "
        "fifth faster with it where many are served at once, and read what is new upon a long "
        "history half again as slowly; and a reply may then depend on who else is served",
    )
    amx: bool = Field(
        default=False,
        description="compute with AMX tiles where the build has them; off, since such builds end "
        "the process on many machines (github.com/ggml-org/llama.cpp/pull/26954)",
    )


class EmbedderOptions(BaseModel):
    """How memory's embedding model is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="threads for the computation; None: all cores, fewer while others need them",
    )
    gpu_layers: int | None = Field(
        default=None, ge=0, description="layers to offload to a GPU; None: all where there is one"
    )
