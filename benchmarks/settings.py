"""How a benchmark is to be run. Invariant: frozen; a benchmark reads nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str, int, int], None]
"""Called with what is being measured, how many times it was, and how many times it will be."""


def quiet(_what: str, _done: int, _total: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """quick: end within a minute on two cores. repetitions: so many, in place of the benchmark's
    own number. peer_python: an interpreter whose environment has the peers that vanta does not
    depend on. llama_bin: the folder with llama.cpp's own programs."""

    quick: bool = False
    repetitions: int | None = None
    peer_python: Path | None = None
    llama_bin: Path | None = None
    progress: Progress = quiet

    def times(self, full: int, quick: int) -> int:
        """How often to measure."""
        return self.repetitions or (quick if self.quick else full)
