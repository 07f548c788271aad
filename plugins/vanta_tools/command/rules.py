"""Which programs may be run, with which arguments and which environment.

Invariant: a rule decides from the argument list alone. A name that is not listed is not run, and a
shell is never listed: it would make one string of a model a program.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import Field, field_validator

from vanta import did_you_mean
from vanta_tools.actions import CorrectableError, ToolOptions

_SHELL_NAMES = """ash bash busybox cmd command.com csh dash doas elvish env eval exec fish ksh ksh93
    mksh nohup nu osh powershell pwsh rbash script setsid sh su sudo tcsh toybox xargs yash zsh"""
SHELLS = frozenset(_SHELL_NAMES.split())
"""Shells, and programs whose arguments are the program that they run."""

_NAME = re.compile(r"[\w.+-]{1,100}")
_LOADERS = re.compile(
    r"LD_|DYLD_|GIT_|PYTHON|NODE_|PERL|RUBY|BASH|ENV$|IFS$|SHELLOPTS|GCONV|PROMPT_COMMAND|_JAVA"
)
"""Variables that make a program load or run something else."""

MAX_ARGUMENTS = 256
MAX_ARGUMENT_BYTES = 128 * 1024  # the kernel's own limit of one argument


class ProgramRule(ToolOptions):
    """How one program may be run.

    Patterns are globs over one whole argument; `*` matches anything in it.
    """

    path: str = Field(default="", description='The program\'s file; "" searches for it in PATH.')
    first: tuple[str, ...] = Field(
        default=(), description="What the first argument may be; () for any."
    )
    allow: tuple[str, ...] = Field(
        default=(), description="Patterns of allowed arguments; () for any."
    )
    deny: tuple[str, ...] = Field(default=(), description="Patterns of arguments that are refused.")
    env: Mapping[str, str] = Field(default={}, description="Variables that are set for it.")
    timeout_s: float = Field(default=60.0, gt=0, le=3600, allow_inf_nan=False)


class CommandOptions(ToolOptions):
    """Options of the toolset `command`."""

    programs: Mapping[str, ProgramRule] = Field(
        default={}, description="The programs that may be run, each with its rule."
    )
    root: str = Field(
        default="", description='The folder; "" for the one that the program started in.'
    )
    hidden: bool = Field(
        default=False, description="Whether it may run in folders with a leading dot."
    )
    env: tuple[str, ...] = Field(
        default=("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ"),
        description="The variables of the environment that programs get.",
    )
    private: bool = Field(
        default=False, description="Whether no listed program sends anything away."
    )
    max_output_bytes: int = Field(default=64_000, ge=1000, le=10_000_000)

    @field_validator("programs")
    @classmethod
    def _no_shells(cls, programs: Mapping[str, ProgramRule]) -> Mapping[str, ProgramRule]:
        for name, rule in programs.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a program")
            for used in (name, Path(rule.path).name):
                if _is_shell(used) or used.lower().endswith((".bat", ".cmd")):
                    raise ValueError(f"{used!r} runs what its arguments say: name that program")
            if rule.path and not Path(rule.path).is_absolute():
                raise ValueError(f"the path of {name!r} must be absolute, not {rule.path!r}")
        return programs

    @field_validator("env")
    @classmethod
    def _no_loaders(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if _LOADERS.match(name):
                raise ValueError(f"{name!r} makes programs run other code: set it in a rule's env")
        return names


def check_arguments(argv: Sequence[str], options: CommandOptions) -> ProgramRule:
    """Return the rule under which a command may run.

    :param argv: the program's name and its arguments.
    :param options: the toolset's options.
    :raises CorrectableError: if no rule allows it; the message names the rule.
    """
    name, arguments = argv[0], argv[1:]
    rule = options.programs.get(name)
    if rule is None:
        raise CorrectableError(
            f"The program {name!r} is not listed. {did_you_mean(name, options.programs)}"
        )
    if len(argv) > MAX_ARGUMENTS:
        raise CorrectableError(f"There are more than {MAX_ARGUMENTS} arguments.")
    for argument in arguments:
        if "\0" in argument or len(os.fsencode(_encodable(argument))) >= MAX_ARGUMENT_BYTES:
            raise CorrectableError("An argument is too long, or has a NUL character in it.")
    if rule.first and (not arguments or arguments[0] not in rule.first):
        allowed = ", ".join(map(repr, rule.first))
        raise CorrectableError(f"The first argument of {name!r} must be one of: {allowed}.")
    for argument in arguments[1:] if rule.first else arguments:
        denied = next((item for item in rule.deny if fnmatchcase(argument, item)), None)
        if denied is not None:
            raise CorrectableError(f"{argument!r} is refused for {name!r} (rule {denied!r}).")
        if rule.allow and not any(fnmatchcase(argument, item) for item in rule.allow):
            allowed = ", ".join(map(repr, rule.allow))
            raise CorrectableError(f"{argument!r} is not allowed for {name!r}: only {allowed}.")
    return rule


def find_program(name: str, rule: ProgramRule, environ: Mapping[str, str]) -> str:
    """Return the file of a program.

    :param name: its name.
    :param rule: its rule.
    :param environ: the environment that it gets.
    :raises CorrectableError: if there is none.
    """
    # An empty or relative part of PATH is the folder that the program runs in.
    folders = [
        part for part in environ.get("PATH", "").split(os.pathsep) if Path(part).is_absolute()
    ]
    path = rule.path or shutil.which(name, path=os.pathsep.join(folders)) or ""
    if not path or not os.access(path, os.X_OK) or not Path(path).is_file():
        raise CorrectableError(
            f"The program {name!r} is not installed ({path or 'not in PATH'!r})."
        )
    real = Path(os.path.realpath(path)).name
    if real != name and _is_shell(real) and not rule.path:
        raise CorrectableError(
            f"The program {name!r} is {real!r}, which runs other programs. "
            "Set the path of its rule to allow it."
        )
    return path


def build_environment(
    rule: ProgramRule, options: CommandOptions, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment that a program gets.

    :param rule: its rule.
    :param options: the toolset's options.
    :param environ: this process's environment.
    """
    listed = {name: environ[name] for name in options.env if name in environ}
    return {**listed, **rule.env}


def _is_shell(name: str) -> bool:
    return name.lower().removesuffix(".exe") in SHELLS


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CorrectableError("An argument contains half a character.") from None
    return text
