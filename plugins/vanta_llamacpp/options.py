"""What `tracks.NAME.options` may hold for the engine `llamacpp`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
        default=60,
        ge=8,
        le=4096,
        description="prompt tokens read in one step; from 64 on they are not kept between turns",
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
    amx: bool = Field(
        default=False,
        description="compute with AMX tiles where the build has them; off, since such builds end "
        "the process on many machines (github.com/ggml-org/llama.cpp/pull/26954)",
    )
