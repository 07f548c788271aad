"""The toolset `command`: one tool, which runs a listed program."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import Field

from vanta import ToolContext, ToolResult, ToolsetContext
from vanta.text import printable
from vanta_tools.actions import (
    SPARE_S,
    ActionToolset,
    CorrectableError,
    ToolArguments,
    action,
    seconds_left,
)
from vanta_tools.command.process import GRACE_S, ProgramRun, run_program
from vanta_tools.command.rules import (
    CommandOptions,
    build_environment,
    check_arguments,
    find_program,
)
from vanta_tools.files import FilesOptions as _FilesOptions
from vanta_tools.files import RootFolder, RootRules, why_files_off

MAX_STDIN_CHARACTERS = 1_000_000


class CommandArguments(ToolArguments):
    """Arguments of `command`."""

    argv: tuple[str, ...] = Field(
        min_length=1, description='The program and its arguments, such as ["git", "status"].'
    )
    cwd: str = Field(default=".", description="The folder to run it in, relative to the root.")
    stdin: str = Field(
        default="", max_length=MAX_STDIN_CHARACTERS, description="Its standard input."
    )


class CommandToolset(ActionToolset):
    """Runs listed programs, without a shell.

    :param options: the toolset's options.
    :param project: the folder that a relative `root` starts from.
    :param environ: the environment that listed variables come from.
    """

    def __init__(
        self, options: CommandOptions, project: Path, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._options = options
        self._environ = environ
        self._root = RootFolder(
            project / Path(options.root).expanduser(), RootRules(hidden=options.hidden)
        )
        longest_s = max((rule.timeout_s for rule in options.programs.values()), default=1.0)
        names = ", ".join(sorted(options.programs)) or "none"
        command = action(
            "command",
            f"Run a program without a shell: no pipes, globs or redirections. Programs: {names}.",
            CommandArguments,
            self._run,
            effect="write",
            private=options.private,
            untrusted=True,
            timeout_s=longest_s + SPARE_S + 2 * GRACE_S,
        )
        super().__init__("command", [command])

    async def _run(self, arguments: CommandArguments, context: ToolContext) -> ToolResult:
        rule = check_arguments(arguments.argv, self._options)
        environ = build_environment(rule, self._options, self._environ)
        path = await anyio.to_thread.run_sync(find_program, arguments.argv[0], rule, environ)
        stdin = arguments.stdin.encode("utf-8", "replace")
        async with self._folder(arguments.cwd) as folder:
            try:
                run = await run_program(
                    path,
                    arguments.argv,
                    folder=folder,
                    environ=environ,
                    stdin=stdin,
                    timeout_s=seconds_left(context, rule.timeout_s),
                    most_bytes=self._options.max_output_bytes,
                )
            except OSError as error:
                raise CorrectableError(
                    f"The program {arguments.argv[0]!r} cannot be started: {error.strerror}."
                ) from error
        return _result_of(run, arguments.argv[0])

    @contextlib.asynccontextmanager
    async def _folder(self, path: str) -> AsyncIterator[int]:
        def opened() -> int:
            with self._root.folder(path) as descriptor:
                return os.dup(descriptor)

        descriptor = await anyio.to_thread.run_sync(opened)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def create_command(options: CommandOptions, context: ToolsetContext) -> CommandToolset:
    """Return the toolset for a runtime."""
    return CommandToolset(options, context.project)


def why_command_off(options: CommandOptions) -> str | None:
    """Return why the toolset cannot be used, or None."""
    if not options.programs:
        return "no program is listed: name some under tools.options.command.programs."
    return why_files_off(_FilesOptions(root=options.root))


def _result_of(run: ProgramRun, name: str) -> ToolResult:
    parts = [printable(run.output).rstrip()]
    if run.errors.strip():
        parts.append(f"[standard error]\n{printable(run.errors).rstrip()}")
    if run.stopped:
        parts.append(f"[{run.stopped}]")
    elif run.exit_code:
        parts.append(f"[exit code {run.exit_code}]")
    failed = bool(run.stopped) or run.exit_code != 0
    data = {"exit_code": run.exit_code, "stopped": run.stopped or None}
    text = "\n".join(filter(None, parts)) or "(no output)"
    return ToolResult(text, data=data, is_error=failed, source=name)
