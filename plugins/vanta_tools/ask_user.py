"""The toolset `ask_user`: a question to the person in front of the conversation.

The tool is a question: a person answers it through the approval handler, the turn's stream, the
terminal or `vanta approvals answer`, and the turn's deadline stands still meanwhile. Invariant: the
answer that the model reads is a person's; without a person it reads that no one can be asked.
"""

from __future__ import annotations

import dataclasses

from pydantic import Field

from vanta import ToolContext, ToolError, ToolResult, ToolsetContext
from vanta_tools.actions import Action, ActionToolset, ToolArguments, ToolOptions, action

LONGEST_QUESTION = 2_000
MOST_CHOICES = 12


class AskUserOptions(ToolOptions):
    """Options of the toolset `ask_user`: it has none."""


class QuestionArguments(ToolArguments):
    """Arguments of `ask_user`."""

    question: str = Field(
        min_length=1, max_length=LONGEST_QUESTION, description="The question, as a whole sentence."
    )
    choices: tuple[str, ...] = Field(
        default=(),
        max_length=MOST_CHOICES,
        description="Answers to choose from, if there are a few; the person may write another one.",
    )


class AskUserToolset(ActionToolset):
    """Asks the person; the calls are answered above it, see `Tool.asks_person`."""

    def __init__(self) -> None:
        asking = action(
            "ask_user",
            "Ask the person a question and wait for the answer. Use it if you cannot go on without "
            "a decision or a fact that only the person knows.",
            QuestionArguments,
            self._unanswered,
            effect="read",
            private=True,
        )
        tool = dataclasses.replace(asking.tool, asks_person=True)
        super().__init__("ask_user", [Action(tool, asking.arguments, asking.run)])

    @staticmethod
    async def _unanswered(_arguments: QuestionArguments, _context: ToolContext) -> ToolResult:
        raise ToolError("a question is answered by a person, within a turn")


def create_ask_user(_options: AskUserOptions, _context: ToolsetContext) -> AskUserToolset:
    """Return the toolset for a runtime."""
    return AskUserToolset()
