"""System prompts that follow edits of their template files.

A turn begins with a check of the files, on a worker thread and at most once in `INTERVAL_S`.
Invariant: on the event loop, a prompt whose files did not change is neither looked up nor rendered
again. If an edit breaks a template, one warning is logged and its last good text stays in use.
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
from vanta.prompts.front_matter import TurnDefaults
from vanta.prompts.templates import Templates

INTERVAL_S = 1.0
"""Seconds between two checks of the files."""

_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A rendered system prompt.

    :param text: the prompt.
    :param defaults: how turns under it are answered.
    :param where: file and line of the defaults, for messages.
    """

    text: str
    defaults: TurnDefaults
    where: str = ""


class LivePrompts:
    """Makes system prompts from templates and keeps them up to date.

    :param templates: where the prompts come from.
    """

    def __init__(self, templates: Templates) -> None:
        self.templates = templates
        self.edition = 0
        self._next_check = time.monotonic() + INTERVAL_S
        self._lock = anyio.Lock()
        self._one_check = anyio.CapacityLimiter(1)

    def prompt(self, name: str, variables: Mapping[str, Any]) -> SystemPrompt:
        """Return the prompt of one template; it is rendered when it is first used.

        :param name: a template's name.
        :param variables: values by name: plain data.
        """
        return SystemPrompt(self, name, variables)

    async def refresh(self, until: float = math.inf) -> None:
        """Apply edits of the files. Concurrent callers proceed in their order of arrival.

        A check that is cut off continues on its thread, and the next caller waits for it.

        :param until: when to give up, in seconds on the event loop's clock; the prompts then stay
            as they are.
        """
        if time.monotonic() < self._next_check and not self._lock.locked():
            return
        with anyio.move_on_at(until):
            async with self._lock:
                if time.monotonic() < self._next_check:
                    return
                await anyio.to_thread.run_sync(
                    self._check, abandon_on_cancel=True, limiter=self._one_check
                )

    def _check(self) -> None:
        """Reload the files if they changed. Runs on a worker thread, one at a time."""
        if time.monotonic() < self._next_check:
            return
        if self.templates.reload():
            self.edition += 1
        self._next_check = time.monotonic() + INTERVAL_S


class SystemPrompt:
    """One template with its variables. `LivePrompts.prompt` makes it."""

    def __init__(self, live: LivePrompts, name: str, variables: Mapping[str, Any]) -> None:
        self._live = live
        self._name = name
        self._variables = variables
        self._edition = -1
        self._rendered: RenderedPrompt | None = None

    def now(self, *, quiet: bool = False) -> RenderedPrompt:
        """Return the prompt of the current files, or of the last ones that worked.

        :param quiet: log nothing if the current files are broken.
        :raises TemplateError: if the template is broken and never worked.
        :raises UnknownName: if the template is missing and never was there.
        """
        if self._rendered is None or self._edition != self._live.edition:
            self._rendered = self._render(self._rendered, quiet=quiet)
            self._edition = self._live.edition
        return self._rendered

    def _render(self, before: RenderedPrompt | None, *, quiet: bool) -> RenderedPrompt:
        templates = self._live.templates
        try:
            template = templates.get(self._name)
            text = templates.render(self._name, self._variables)
        except (TemplateError, UnknownName) as error:
            if before is None:
                raise
            if not quiet:
                _log.warning("%s The last version that worked stays in use.", error)
            return before
        line = template.lines.get("track", template.lines.get("policy", 1))
        return RenderedPrompt(text, template.defaults, f"{template.path}:{line}")
