"""The lazy import of names at the front of a package.

A front lists public names and imports each when it is first used, so importing a package loads
nothing heavy. For type checkers it imports the same names under `TYPE_CHECKING`.

Invariant: a name is imported once; afterwards it is an attribute of the package like any other.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_front"]


def lazy_front(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that imports its names on first use.

    :param package: the package's `__name__`.
    :param names: for each module the names that it has, separated by spaces; ".module" is a module
        of the package.
    :returns: a function that returns the named object, or raises AttributeError.
    """
    homes = {name: module for module, listed in names.items() for name in listed.split()}

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
