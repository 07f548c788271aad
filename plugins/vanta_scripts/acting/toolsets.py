"""The toolsets of one run of a script.

`calculator`, `clock`, `files`, `memory` and, with pages, `fetch` are built for the run: `files` in
a folder of its own, `memory` on the run's memory, `fetch` so that it reaches the pages of the
fixtures and no other host. Scripted tools form the toolset `fixture`. Any other toolset is the
runtime's, with the runtime's rights.

Invariant: a script, wherever it comes from, acts on nothing outside its run that the configuration
of its user does not allow.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta import IsolatedTools, ScriptError
from vanta.tools import CallPattern, Permissions, open_toolsets
from vanta_scripts.acting.pages import filled, serve_pages
from vanta_scripts.acting.scripted import FIXTURE, ScriptedPerson, ScriptedToolset
from vanta_scripts.script import PlannedApproval, Script, UpstreamPlan

if TYPE_CHECKING:
    from vanta import Runtime
    from vanta.memory import Memory

CONTAINED = ("calculator", "clock", "files", "memory")
"""Toolsets that a script has for itself. `fetch` is one of them if there are pages."""


def own_toolsets(script: Script) -> tuple[str, ...]:
    """Return the names of the toolsets that are built for a run of `script`."""
    if script.session:
        return ()
    contained = (*CONTAINED, *(["fetch"] if script.fixtures.pages else []))
    return tuple(name for name in script.toolsets if name in contained)


class ScriptTools:
    """What a run can call. Use it as a context, around all runtimes of the run.

    :param script: the script.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._person = ScriptedPerson()
        self._stack = AsyncExitStack()
        self._folder = Path()
        self._address = ""
        self._fetched: set[str] = set()
        self._results_used: set[tuple[str, int]] = set()

    async def __aenter__(self) -> ScriptTools:
        async with AsyncExitStack() as stack:
            if self._script.fixtures.pages:
                self._address = await stack.enter_async_context(
                    serve_pages(self._script.fixtures.pages, self._fetched)
                )
            if own_toolsets(self._script):
                self._folder = await anyio.to_thread.run_sync(self._make_folder, stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    def prepare(self, approvals: Sequence[PlannedApproval]) -> None:
        """Set the answers to the questions of the next turn."""
        self._person.prepare(approvals)

    def unused(self, calls: Collection[tuple[str, str]]) -> tuple[str, ...]:
        """Return what the script plans for its calls and no turn of the run used, as sentences.

        A memory, a document or a file that no turn reads is not one of them: a script has some so
        that a track must choose among them.

        :param calls: the calls of the run, each as `TOOLSET.TOOL` and the rule that decided.
        """
        script = self._script
        warnings = [
            f"no question used the answer {planned.answer!r} under 'approvals'"
            + (f" for {planned.call!r}" if planned.call else "")
            for planned in self._person.unused()
        ]
        if not script.session:
            warnings += [
                f"the rule {pattern!r} under 'allow' allowed no call"
                for pattern in script.allow
                if not any(self._may_allow(pattern, *call) for call in calls)
            ]
        for item in script.scripted:
            name = f"{FIXTURE}.{item.tool.name}"
            unused = [
                number + 1
                for number in range(len(item.results))
                if (item.tool.name, number) not in self._results_used
            ]
            if len(unused) == len(item.results):
                warnings.append(f"no call ran the tool {name!r}")
            else:
                warnings += [f"no call got result {number} of {name!r}" for number in unused]
        missing = [path for path in script.fixtures.pages if path not in self._fetched]
        return (*warnings, *(f"no request fetched the page {path!r}" for path in missing))

    def _may_allow(self, pattern: str, identity: str, rule: str) -> bool:
        """Return whether a rule allowed a call.

        For a toolset of the runtime the runtime's rule is recorded if both rules allow the call:
        there the name alone is compared.
        """
        toolset, _, tool = identity.partition(".")
        if toolset in (FIXTURE, *own_toolsets(self._script)):
            return rule == f"tools.allow {pattern!r} of the script"
        name = CallPattern.parse(pattern).name
        return any(fnmatchcase(candidate, name) for candidate in (identity, toolset, tool))

    def filled(self, text: str) -> str:
        """Return a text of the script in which `{pages}` is the address of the pages."""
        return str(filled(text, self._address)) if self._address else text

    def filled_plan(self, plan: UpstreamPlan | None) -> UpstreamPlan | None:
        """Return a plan in whose texts `{pages}` is the address of the pages."""
        if plan is None or not self._address:
            return plan
        call = plan.call
        if call is not None:
            call = dataclasses.replace(call, arguments=filled(call.arguments, self._address))
        following = tuple(each for each in map(self.filled_plan, plan.then) if each)
        return dataclasses.replace(plan, text=self.filled(plan.text), call=call, then=following)

    def open(
        self,
        runtime: Runtime,
        memory: Memory | None,
        clock: Callable[[], float],
        stack: AsyncExitStack,
    ) -> IsolatedTools:
        """Build the toolsets on a runtime.

        :param runtime: the runtime.
        :param memory: the memory of the run.
        :param clock: the time of the run.
        :param stack: closes them.
        :raises ScriptError: if one of them is off.
        """
        script, names = self._script, own_toolsets(self._script)
        options: dict[str, dict[str, Any]] = {
            "files": {"write": True},
            "memory": {"write": True, "forget": True},
            "fetch": {"inside": [self._address.partition("://")[2]], "ports": []},
        }
        toolsets, off = open_toolsets(
            names,
            runtime.plugins.toolsets,
            {name: options[name] for name in names if name in options},
            data_dir=self._folder / "data",
            project=self._folder / "files",
            hint=runtime.plugins.library_hint,
            memory=lambda: memory,
            now=clock,
        )
        for name, why in off.items():
            raise ScriptError(f"{script.source}: the toolset {name!r} is off: {why}")
        if script.scripted:
            toolsets[FIXTURE] = ScriptedToolset(script.scripted, self._address, self._results_used)
        for toolset in toolsets.values():
            stack.push_async_callback(toolset.aclose)
        return IsolatedTools(
            permissions=self._rules(),
            toolsets=toolsets,
            shared=tuple(name for name in script.toolsets if name not in names),
            ask=None if script.session else self._person,
        )

    def _rules(self) -> Permissions:
        script = self._script
        if script.session:  # the runtime's own rules decide alone
            return Permissions("allow")
        return Permissions("ask", allow=script.allow, ask=script.ask, deny=script.deny)

    def _make_folder(self, stack: AsyncExitStack) -> Path:
        made = tempfile.TemporaryDirectory(prefix="vanta-script-", ignore_cleanup_errors=True)
        stack.callback(made.cleanup)
        folder = Path(made.name)
        (folder / "files").mkdir()
        for name, text in self._script.fixtures.files.items():
            path = folder / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder
