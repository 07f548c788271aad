"""What `memory.embedder_options` may hold for the embedders of this plugin."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

MOST_THREADS = 4
"""More do not make so small a model faster."""


class MiniLmOptions(BaseModel):
    """`minilm`: how the network is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="threads for the computation; None: half of the cores, 4 at the most, so that "
        "a local engine is not starved",
    )

    @property
    def cores(self) -> int:
        """The threads that are really used."""
        return self.threads or max(1, min(MOST_THREADS, _available() // 2))


class StaticOptions(MiniLmOptions):
    """`static`: how wide the table is, and how it is made."""

    dimension: int = Field(
        default=256, ge=8, le=384, description="components of a vector: more are better and slower"
    )


def _available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
