"""The built-in expectations, and all expectations of a runtime.

Invariant: each one is an `Expectation` like a plugin's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vanta import Expectation
from vanta_scripts.checks import calls, meanings, replies, turns

__all__ = ["BUILTIN", "known_expectations"]

BUILTIN: Mapping[str, Expectation] = {
    expectation.name: expectation
    for expectations in (
        replies.WORD_EXPECTATIONS,
        replies.SCHEMA_EXPECTATIONS,
        meanings.MODEL_EXPECTATIONS,
        turns.MEMORY_EXPECTATIONS,
        calls.CALL_EXPECTATIONS,
        turns.ANSWER_EXPECTATIONS,
        turns.LIMIT_EXPECTATIONS,
        meanings.CODE_EXPECTATIONS,
    )
    for expectation in expectations
}


class ExpectationSource(Protocol):
    """The plugins of a runtime (`runtime.plugins`) or of a command (`setup.plugins`)."""

    @property
    def expectations(self) -> Any:
        """Return the registry of the plugins' expectations, a mapping by name."""
        ...


def known_expectations(plugins: ExpectationSource | None = None) -> Mapping[str, Expectation]:
    """Return the built-in expectations and those of `plugins`, by name.

    :param plugins: the plugins, or None for the built-in expectations alone.
    :raises PluginError: if a plugin's expectation has the name of a built-in one.
    """
    if plugins is None:
        return BUILTIN
    plugins.expectations.refuse(BUILTIN)
    return {**BUILTIN, **plugins.expectations}
