"""The expectations that vanta brings, and all that there are.

Invariant: each is a value of `Expectation` like a plugin's, in a module by what it looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vanta.expectations import Expectation
from vanta_scripts.checks import (
    answers,
    code,
    judges,
    limits,
    meaning,
    memories,
    structure,
    tools,
    words,
)

if TYPE_CHECKING:
    from vanta.plugin_loading import PluginSet

__all__ = ["BUILTIN", "known_expectations"]

BUILTIN: Mapping[str, Expectation] = {
    expectation.name: expectation
    for expectations in (
        words.EXPECTATIONS,
        structure.EXPECTATIONS,
        meaning.EXPECTATIONS,
        judges.EXPECTATIONS,
        memories.EXPECTATIONS,
        tools.EXPECTATIONS,
        answers.EXPECTATIONS,
        limits.EXPECTATIONS,
        code.EXPECTATIONS,
    )
    for expectation in expectations
}


def known_expectations(plugins: PluginSet | None = None) -> Mapping[str, Expectation]:
    """The built-in expectations and those of `plugins`, by name.

    Raises PluginError if a plugin claims a built-in name.
    """
    if plugins is None:
        return BUILTIN
    plugins.expectations.refuse(BUILTIN)
    return {**BUILTIN, **plugins.expectations}
