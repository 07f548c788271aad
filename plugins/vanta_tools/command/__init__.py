"""The toolset `command`: programs that a person has named, run without a shell.

Invariant: a program runs with an argument list, in a folder below the root, with listed variables
of the environment only, and its whole process group is gone when the call ends.
"""

from vanta_tools.command.rules import CommandOptions, ProgramRule
from vanta_tools.command.toolset import CommandToolset, create_command, why_command_off

__all__ = [
    "CommandOptions",
    "CommandToolset",
    "ProgramRule",
    "create_command",
    "why_command_off",
]
