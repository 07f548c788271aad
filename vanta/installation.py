"""The installation of vanta: its distribution, the pip commands that extend it, its data folders.

The name `vanta` on the public index belongs to another project that also imports as `vanta`.
Invariants: every install hint is made here, so no message recommends that package. An installed
wheel has the data in `vanta/_data/NAME` and a checkout has it at its top in `NAME/`; both are used
the same way.
"""

from __future__ import annotations

import functools
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Protocol

from vanta.errors import UsageError

DISTRIBUTION = "vanta-runtime"
"""The name of vanta's own distribution."""

FOREIGN = "vanta"
"""The name of another project's distribution, whose package is called `vanta` too."""

_PACKAGE = Path(__file__).resolve().parent


class RequiresLibrary(Protocol):
    """A factory that may need an optional library."""

    @property
    def requires(self) -> str | None:
        """The import name of the library, or None."""
        ...

    @property
    def extra(self) -> str | None:
        """The extra of the plugin's distribution that installs the library, or None."""
        ...


def install_hint(*extras: str, distribution: str = "") -> str:
    """Return the pip command that installs a distribution with some of its extras.

    In an editable checkout of vanta the command installs the checkout again.

    :param extras: names of extras, such as "openai"; without any, the distribution alone.
    :param distribution: the distribution that declares the extras; vanta's own by default.
    :returns: a command such as ``pip install 'vanta-runtime[openai]'``.
    """
    brackets = f"[{','.join(extras)}]" if extras else ""
    if distribution and not is_own(distribution):
        return f"pip install '{distribution}{brackets}'"
    source = "." if _is_editable() else DISTRIBUTION
    return f"pip install {'-e ' if source == '.' else ''}'{source}{brackets}'"


def library_hint(factory: RequiresLibrary, distribution: str) -> str:
    """Return the pip command that installs the library which a plugin's factory requires.

    :param factory: the factory of an engine, embedder or index.
    :param distribution: the plugin's distribution; "" for a plugin that was passed in code.
    """
    if factory.extra and distribution:
        return install_hint(factory.extra, distribution=distribution)
    return f"pip install '{factory.requires}'"


def is_own(distribution: str) -> bool:
    """Return whether a distribution's name is that of vanta's own distribution."""
    return _normalised(distribution) == DISTRIBUTION


def foreign_version() -> str | None:
    """Return the version of the foreign distribution `vanta` if it is installed, else None."""
    try:
        return metadata.version(FOREIGN)
    except metadata.PackageNotFoundError:
        return None


def templates_dir() -> Path:
    """Return the folder of the prompt templates.

    :raises UsageError: if the installation is incomplete.
    """
    return _find("templates")


def configs_dir() -> Path:
    """Return the folder of the ready configurations and the model registry.

    :raises UsageError: if the installation is incomplete.
    """
    return _find("configs")


def benchmarks_dir() -> Path:
    """Return the folder of the benchmarks that `vanta bench` runs.

    :raises UsageError: if the installation is incomplete.
    """
    return _find("benchmarks")


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _is_editable() -> bool:
    """Return whether vanta runs from a checkout: installed with `-e`, or not installed at all."""
    try:
        origin = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return _PACKAGE.parent.joinpath("pyproject.toml").is_file()
    return bool(origin) and bool(json.loads(origin or "{}").get("dir_info", {}).get("editable"))


def _find(name: str) -> Path:
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise UsageError(
        f"vanta's folder {name!r} is neither in {str(_PACKAGE / '_data')!r} nor in "
        f"{str(_PACKAGE.parent)!r}. The installation is incomplete, install it again: "
        f"{install_hint()}."
    )
