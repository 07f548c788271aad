"""System prompts that stay true while their files are edited.

Whoever begins a turn has the files looked at first, on a worker thread and at most once in
`INTERVAL_S`. Invariant: on the event loop a prompt whose files did not change is neither looked for
nor rendered again; where an edit broke a template, that is said once and its last good text goes
on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread

from vanta.errors import TemplateError, UnknownName
from vanta.prompts.defaults import TurnDefaults
from vanta.prompts.templates import Templates

INTERVAL_S = 1.0
"""Seconds between two looks at the files."""

_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A system prompt, and what its template says of the turns under it. where: file and line of
    the latter, for messages."""

    text: str
    defaults: TurnDefaults
    where: str = ""


class LivePrompts:
    """Makes system prompts out of `templates`, and keeps them true."""

    def __init__(self, templates: Templates) -> None:
        self.templates = templates
        self.edition = 0
        self._look_at = time.monotonic() + INTERVAL_S
        self._lock = anyio.Lock()
        self._one_look = anyio.CapacityLimiter(1)

    def prompt(self, name: str, variables: Mapping[str, Any]) -> SystemPrompt:
        """The prompt that template `name` makes of `variables`; rendered when it is used."""
        return SystemPrompt(self, name, variables)

    async def refresh(self, until: float = math.inf) -> None:
        """Make edited files take effect. Callers continue in the order in which they called.

        A look that is cut off continues on its thread, and the next caller waits for it.

        :param until: when to give up, in seconds on the event loop's clock; the prompts then stay
            as they are.
        """
        if time.monotonic() < self._look_at and not self._lock.locked():
            return
        with anyio.move_on_at(until):
            async with self._lock:
                if time.monotonic() < self._look_at:
                    return
                await anyio.to_thread.run_sync(
                    self._look, abandon_on_cancel=True, limiter=self._one_look
                )

    def _look(self) -> None:
        """Reload the files if they changed. Runs on a worker thread, one at a time."""
        if time.monotonic() < self._look_at:
            return
        if self.templates.reload():
            self.edition += 1
        self._look_at = time.monotonic() + INTERVAL_S


class SystemPrompt:
    """One template with its variables; get it from `LivePrompts.prompt`."""

    def __init__(self, live: LivePrompts, name: str, variables: Mapping[str, Any]) -> None:
        self._live = live
        self._name = name
        self._variables = variables
        self._edition = -1
        self._rendered: Rendered | None = None

    def now(self) -> Rendered:
        """The prompt as its files have it. Raises TemplateError, UnknownName if it never was
        fine."""
        if self._rendered is None or self._edition != self._live.edition:
            self._rendered = self._render(self._rendered)
            self._edition = self._live.edition
        return self._rendered

    def _render(self, before: Rendered | None) -> Rendered:
        templates = self._live.templates
        try:
            template = templates.get(self._name)
            text = templates.render(self._name, self._variables)
        except (TemplateError, UnknownName) as error:
            if before is None:
                raise
            _log.warning("%s The last version that worked stays in use.", error)
            return before
        line = template.lines.get("track", template.lines.get("policy", 1))
        return Rendered(text, template.defaults, f"{template.path}:{line}")
