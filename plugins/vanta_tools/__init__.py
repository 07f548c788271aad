"""Tools that a model may call: clock, calculator, files, the web, commands, memory, questions.

Each is a toolset of its own, off until `tools.use` names it. Invariant: what a model asks for stays
inside what the options allow, whatever it writes: files below one folder, public addresses, listed
programs, the memory of the turn's user.
"""

from __future__ import annotations

from vanta import ToolsetFactory, hookimpl
from vanta_tools.ask_user import AskUserOptions, create_ask_user
from vanta_tools.calculator import CalculatorOptions, create_calculator
from vanta_tools.clock import ClockOptions, create_clock, why_clock_off
from vanta_tools.command import CommandOptions, create_command, why_command_off
from vanta_tools.files import FilesOptions, create_files, why_files_off
from vanta_tools.memory import MemoryOptions, create_memory
from vanta_tools.web import (
    FetchOptions,
    SearchOptions,
    create_fetch,
    create_search,
    why_search_off,
)

__all__ = ["vanta_toolsets"]


@hookimpl
def vanta_toolsets() -> list[ToolsetFactory]:
    """Return the eight toolsets."""
    return [
        ToolsetFactory(
            "clock",
            "the time, and arithmetic with dates",
            ClockOptions,
            create_clock,
            why_clock_off,
        ),
        ToolsetFactory(
            "calculator",
            "arithmetic in decimal numbers",
            CalculatorOptions,
            create_calculator,
            requires="simpleeval",
            extra="tools",
        ),
        ToolsetFactory(
            "files", "files below one folder", FilesOptions, create_files, why_files_off
        ),
        ToolsetFactory(
            "fetch",
            "the text of public web pages",
            FetchOptions,
            create_fetch,
            requires="httpcore2",
            extra="tools",
        ),
        ToolsetFactory(
            "search",
            "the web, through SearXNG or Brave",
            SearchOptions,
            create_search,
            why_search_off,
            requires="httpcore2",
            extra="tools",
        ),
        ToolsetFactory(
            "command",
            "listed programs, without a shell",
            CommandOptions,
            create_command,
            why_command_off,
        ),
        ToolsetFactory("memory", "the memory of the user", MemoryOptions, create_memory),
        ToolsetFactory("ask_user", "questions to the person", AskUserOptions, create_ask_user),
    ]
