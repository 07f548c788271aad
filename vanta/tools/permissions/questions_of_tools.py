"""Questions to the person that a tool has while it runs, such as one of an MCP server.

Invariant: the question goes to those who may answer in this turn, by the same way as a question of
the model, and no other. The turn is not parked for it, since the call runs already: if the process
ends, the outcome of the call is unknown. Without a person there is no answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from vanta.tool_contract import AskPerson
from vanta.tools.arguments import canonical
from vanta.tools.journal.call_record import CallRecord
from vanta.tools.journal.recorded import RecordedCall, run_recorded
from vanta.tools.permissions.asking import Asking, HeldCall
from vanta.tools.permissions.permissions import Decision
from vanta.tools.registry import OfferedTool

MOST_QUESTIONS = 30
"""Questions that one call may have; further ones have no answer."""


async def run_with_questions(
    asking: Asking, record: CallRecord, offered: OfferedTool, arguments: Mapping[str, Any]
) -> RecordedCall:
    """Run a call that may run, and put its questions to the person.

    :param asking: the questions of the turn, with what the call goes through.
    :param record: the call, not yet in the journal.
    :param offered: its tool.
    :param arguments: its arguments, valid under the tool's schema.
    :raises StoreError: if the start or the end cannot be recorded.
    """
    # What is answered elsewhere is answered to parked turns, and this one is not parked.
    is_here = asking.questions.ask is not None or asking.questions.streamed
    ask = _asker(asking, record, offered) if is_here else None
    return await run_recorded(asking.desk, record, offered, arguments, asking.clock, ask)


def _asker(asking: Asking, record: CallRecord, offered: OfferedTool) -> AskPerson:
    tool = dataclasses.replace(offered.tool, asks_person=True)
    questioner = dataclasses.replace(offered, tool=tool)
    numbers = count(1)

    async def ask(question: str, choices: Sequence[str] = ()) -> str | None:
        number = next(numbers)
        if number > MOST_QUESTIONS:
            return None
        arguments = {"question": question, "choices": list(choices)}
        held = HeldCall(
            key=f"{record.key}-{number}",
            offered=questioner,
            arguments=arguments,
            text=canonical(arguments),
            digest="",
            decision=Decision("ask", f"a question of {offered.identity}", only_this_call=True),
            private=record.private,
        )
        answer = await asking.put(held)
        return answer.answer if answer.approved else None

    return ask
