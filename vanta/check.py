"""The contract of checks for `vanta doctor`; plugins provide checks with `vanta_checks`.

Invariant: a context is read-only, and everything that a check reads of the machine is a field of
it, so that a test can set it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from vanta.models import free_memory

if TYPE_CHECKING:
    from vanta.config import Config, ProjectTrust
    from vanta.engine import EngineFactory
    from vanta.memory import EmbedderFactory, IndexFactory
    from vanta.models import ModelStore


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PluginStatus(Protocol):
    """One plugin, as a check sees it: see `vanta.plugin_loading.Plugin`."""

    @property
    def name(self) -> str:
        """The name of its entry point."""
        ...

    @property
    def status(self) -> str:
        """One of "on", "off" and "failed"."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not on, or ""."""
        ...


class PluginCatalog(Protocol):
    """The loaded plugins, as a check sees them: see `vanta.plugin_loading.PluginSet`."""

    @property
    def plugins(self) -> Sequence[PluginStatus]:
        """Every plugin: on, off or failed."""
        ...

    @property
    def engines(self) -> Mapping[str, EngineFactory]:
        """Engines by name."""
        ...

    @property
    def embedders(self) -> Mapping[str, EmbedderFactory]:
        """Embedders by name."""
        ...

    @property
    def vector_indexes(self) -> Mapping[str, IndexFactory]:
        """Vector indexes by name."""
        ...

    def library_hint(self, factory: EngineFactory | EmbedderFactory | IndexFactory) -> str:
        """Return the pip command that installs the library which a factory requires."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    :param check: the name of the check.
    :param ok: True if it works, False if it is broken, None if it is optional and absent or
        cannot be determined.
    :param detail: a sentence for a person, without secrets.
    :param fix: a command that fixes the problem, or "".
    """

    check: str
    ok: bool | None
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class DiagnosisContext:
    """The state that checks read.

    :param config: the effective configuration.
    :param plugins: the loaded plugins.
    :param models: the model store.
    :param off: track -> the reason why it is off.
    :param project: the trust in the project of the working directory, or None without one.
    :param environ: the environment variables.
    :param python: the interpreter in which native libraries are tried.
    :param python_version: its major and minor version.
    :param cores: the number of usable cores.
    :param free_memory_bytes: free memory, or None if the system does not report it.
    """

    config: Config
    plugins: PluginCatalog
    models: ModelStore
    off: Mapping[str, str] = field(default_factory=dict)
    project: ProjectTrust | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    python: str = sys.executable
    python_version: tuple[int, int] = sys.version_info[:2]
    cores: int = field(default_factory=usable_cores)
    free_memory_bytes: int | None = field(default_factory=free_memory)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    :param name: its name in the report of `vanta doctor`.
    :param run: returns the finding; it must not block the event loop.
    :param timeout_s: seconds after which the check is stopped.
    """

    name: str
    run: Callable[[DiagnosisContext], Awaitable[Finding]]
    timeout_s: float = 10.0
