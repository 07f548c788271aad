"""What `tracks.NAME.options` may hold for the engine `llamacpp`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LlamaCppOptions(BaseModel):
    """How a model is run; each has a default that fits most machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None, ge=1, le=512, description="threads for the computation; None: all cores"
    )
    prefill_chunk: int = Field(
        default=256,
        ge=8,
        le=4096,
        description="prompt tokens read in one step, and kept in such steps",
    )
    queue: int = Field(
        default=32, ge=1, le=10_000, description="requests that may wait; one more is overloaded"
    )
    gpu_layers: int | None = Field(
        default=None, ge=0, description="layers to offload to a GPU; None: all where there is one"
    )
    reuse_prefix: bool = Field(
        default=True, description="keep what two prompts in a row have in common"
    )
