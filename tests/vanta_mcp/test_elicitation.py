"""Questions of servers: they reach the person of their call, and no other."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.home import open_scripted
from tests.vanta_mcp.servers import FAKE, fake, opened
from vanta import ApprovalRequest, GenerationRequest, QuestionAsked, ToolContext
from vanta.testing import CallTool, ScriptedEngine
from vanta_mcp.client.toolset import McpToolset

pytestmark = pytest.mark.anyio

FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your name"},
        "age": {"type": "integer"},
        "size": {"type": "string", "enum": ["s", "m"], "enumNames": ["small", "medium"]},
        "news": {"type": "boolean"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "colour": {"oneOf": [{"const": "#f00", "title": "red"}]},
        "note": {"type": "string"},
    },
    "required": ["name", "age"],
}


class Person:
    """Answers by the last line of a question, and keeps the questions."""

    def __init__(self, **answers: str | Sequence[str] | None) -> None:
        self.answers = answers
        self.questions: list[tuple[str, tuple[str, ...]]] = []

    async def __call__(self, question: str, choices: Sequence[str]) -> str | None:
        self.questions.append((question, tuple(choices)))
        answer = self.answers.get(question.splitlines()[-1].split()[0].lower())
        if isinstance(answer, list):
            return str(answer.pop(0))
        return answer if isinstance(answer, str) else None


async def asked(
    toolset: McpToolset,
    person: Person | None,
    user: str = "ada",
    seconds: float = 30.0,
    **form: Any,
) -> Any:
    """Return what the server got for an answer."""
    context = ToolContext(user=user, ends_at=anyio.current_time() + seconds, ask=person)
    return json.loads((await toolset.call("ask", form, context)).text)


async def test_a_form_is_asked_field_by_field() -> None:
    person = Person(
        your="Ada", age=["old", "36"], size="medium", news="yes", tags="a, b", colour="red"
    )
    async with opened(fake()) as toolset:
        answer = await asked(toolset, person, schema=FORM)
    assert answer == {
        "action": "accept",
        "content": {
            "name": "Ada",
            "age": 36,
            "size": "m",
            "news": True,
            "tags": ["a", "b"],
            "colour": "#f00",
        },
    }
    first, choices = person.questions[0]
    assert first == "The server 'made' asks: Who are you?\nYour name"
    assert (choices, person.questions[3][1]) == ((), ("small", "medium"))


@pytest.mark.parametrize(
    "schema",
    [FORM, {"type": "object", "properties": {}}, {"properties": {str(n): {} for n in range(50)}}],
)
async def test_without_an_answer_a_question_is_declined(schema: Any) -> None:
    async with opened(fake()) as toolset:
        declined = {"action": "decline"}
        assert await asked(toolset, None, schema={"type": "object", **schema}) == declined
        assert await asked(toolset, Person(), schema={"type": "object", **schema}) == declined


async def test_the_time_of_a_call_stands_still_while_the_person_thinks() -> None:
    class Slow(Person):
        async def __call__(self, question: str, choices: Sequence[str]) -> str | None:
            await anyio.sleep(1.0)
            return "Ada"

    async with opened(fake()) as toolset:
        await toolset.tools()
        answer = await asked(toolset, Slow(), seconds=0.7)
    assert answer["content"] == {"name": "Ada"}


async def test_a_question_reaches_the_person_of_its_call_alone() -> None:
    ada, eve = Person(name="Ada"), Person(name="Eve")
    async with opened(fake()) as toolset, anyio.create_task_group() as tasks:
        await toolset.tools()
        answers: dict[str, Any] = {}

        async def ask(user: str, person: Person) -> None:
            answers[user] = await asked(toolset, person, user)

        tasks.start_soon(ask, "ada", ada)
        tasks.start_soon(ask, "eve", eve)
    given = {user: answer.get("content", {}).get("name") for user, answer in answers.items()}
    assert given["ada"] in {"Ada", None}
    assert given["eve"] in {"Eve", None}


def engine() -> ScriptedEngine:
    def reply(request: GenerationRequest) -> list[Any]:
        results = [item.content for item in request.messages if item.role == "tool"]
        return [results[-1]] if results else [CallTool("ask", "{}")]

    return ScriptedEngine(reply=reply)


async def test_a_turn_puts_the_question_to_the_handler(tmp_path: Path) -> None:
    requests: list[ApprovalRequest] = []

    async def approve(request: ApprovalRequest) -> str:
        requests.append(request)
        return "Grace"

    server = {"command": sys.executable, "args": ["-S", FAKE]}
    async with open_scripted(
        tmp_path,
        local=engine(),
        policy="local",
        mcp={"servers": {"notes": server}},
        tools={"allow": ["notes.*"]},
        approve=approve,
    ) as runtime:
        reply = await runtime.session("a").ask("Who am I?")
        assert '"name": "Grace"' in reply.text
        (request,) = requests
        assert "Who are you?" in request.question
        # A program that watches the stream may answer as well.
        async with runtime.session("b").stream("Who am I?") as turn:
            asked = [event async for event in turn if isinstance(event, QuestionAsked)]
        assert len(asked) == 1


async def test_a_turn_without_a_person_declines(tmp_path: Path) -> None:
    server = {"command": sys.executable, "args": ["-S", FAKE]}
    async with open_scripted(
        tmp_path,
        local=engine(),
        policy="local",
        mcp={"servers": {"notes": server}},
        tools={"allow": ["notes.*"]},
    ) as runtime:
        reply = await runtime.session("a").ask("Who am I?")
    assert '"action": "decline"' in reply.text
