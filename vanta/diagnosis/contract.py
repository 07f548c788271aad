"""What a check takes and gives; plugins bring more of them with `vanta_checks`.

Invariant: a context is read-only; what a check could want to know of the machine is a field of it,
so that a check depends on nothing that a caller cannot set.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.models import free_memory

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.models import ModelStore
    from vanta.plugin_loading.registry import PluginCatalog


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    check: its name. ok: True, it works; False, it is broken; None, neither (it is optional and not
    there, or it cannot be told). detail: a sentence for a person, without secrets. mend: a command
    that a person can type, or "".
    """

    check: str
    ok: bool | None
    detail: str
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class DiagnosisContext:
    """What there is to diagnose.

    off: track -> why it is off. python: the interpreter that native libraries are tried in.
    free_memory_bytes: None where the system does not say.
    """

    config: Config
    plugins: PluginCatalog
    models: ModelStore
    off: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    python: str = sys.executable
    python_version: tuple[int, int] = sys.version_info[:2]
    cores: int = field(default_factory=usable_cores)
    free_memory_bytes: int | None = field(default_factory=free_memory)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `run` must not block the event loop; it is stopped after `timeout_s` seconds."""

    name: str
    run: Callable[[DiagnosisContext], Awaitable[Finding]]
    timeout_s: float = 10.0
