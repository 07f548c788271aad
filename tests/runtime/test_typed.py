"""Typed answers of turns: who answers, what is withdrawn, what is recorded, under every policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, assert_type

import anyio
import pytest
from pydantic import AfterValidator, BaseModel

import vanta
from tests.runtime.home import open_scripted
from vanta import (
    AllTracksFailed,
    Capabilities,
    ErrorKind,
    GenerationRequest,
    Reply,
    Sampling,
    TurnOptions,
    UsageError,
)
from vanta.events import Event, LegFinished, LegRejected, Takeover, TextDelta
from vanta.runtime import Session
from vanta.testing import CallTool, Fail, Hang, Say, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio

POLICIES = ["local", "api", "race", "hedge", "cascade", "speculate", "prefer", "refine", "route"]
KEEPS_SCHEMAS = Capabilities(
    tools=True, json_schema=True, logprobs=True, prefix_continuation=True, tokenize=True
)
ROME = '{"name": "Rome", "people": 3}'
WRONG = '{"name": "Rome", "people": "three"}'


class City(BaseModel):
    name: str
    people: int


def engine(*answers: str, schemas: bool = True) -> ScriptedEngine:
    """Return an engine that gives these answers, one after the other."""
    capabilities = KEEPS_SCHEMAS if schemas else Capabilities(tools=True, tokenize=True)
    scripts = [[Say(answer)] for answer in answers]
    return ScriptedEngine(scripts=scripts, capabilities=capabilities)


def states(reply: Reply) -> list[tuple[str, str]]:
    """Return the track and the state of each leg."""
    return [(leg.track, leg.state) for leg in reply.trace.legs]


async def follow(session: Session, events: list[Event], output: Any) -> None:
    """Collect the events of a typed turn."""
    async with session.stream("Which?", output=output) as turn:
        async for event in turn:
            events.append(event)  # noqa: PERF401 - kept although the turn fails


def corrected(request: GenerationRequest) -> list[str]:
    """Return a wrong answer, and the right one once it has to be corrected."""
    return [ROME if "does not fit" in request.messages[-1].content else WRONG]


async def test_the_reply_has_the_value_and_its_type(tmp_path: Path) -> None:
    local = engine(ROME)
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        reply = await runtime.session("a").ask("Which?", output=City)
        plain = await runtime.session("b").ask("Which?")
    assert_type(reply, Reply[City])
    assert_type(reply.output, City)
    assert_type(plain.output, Any)
    assert reply.output == City(name="Rome", people=3)
    assert reply.text == ROME
    assert json.loads(json.dumps(reply.to_dict()))["output"] == {"name": "Rome", "people": 3}
    assert plain.output is None
    assert "output" not in plain.to_dict()


async def test_a_type_that_is_no_class_is_typed_as_anything(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=engine('{"answer": "b"}'), policy="local") as runtime:
        reply = await runtime.session("a").ask("Which?", output=Literal["a", "b"])
        other = await runtime.session("a").ask("Which?", options=TurnOptions(output=str))
    assert_type(reply.output, Any)
    assert (reply.output, other.output) == ("b", "b")


async def test_an_engine_gets_the_schema_and_the_message_says_it(tmp_path: Path) -> None:
    local = engine(ROME)
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        session = runtime.session("a")
        await session.ask("Which?", output=City)
        history = await session.history()
    request = local.requests[0]
    assert request.checked
    assert request.sampling.json_schema is not None
    assert set(request.sampling.json_schema["properties"]) == {"name", "people"}
    assert request.messages[-1].content.startswith("Which?\n\n")
    assert '"people":{"type":"integer"}' in request.messages[-1].content
    assert [message.content for message in history] == ["Which?", ROME]


async def test_an_engine_without_schemas_is_asked_in_words(tmp_path: Path) -> None:
    local = engine(f"Of course:\n```json\n{ROME}\n```", schemas=False)
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        reply = await runtime.session("a").ask("Which?", output=City)
    assert local.requests[0].sampling.json_schema is None
    assert reply.output == City(name="Rome", people=3)


async def test_the_schema_counts_in_the_budget(tmp_path: Path) -> None:
    local = engine(ROME)
    local.window = 600
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        session = runtime.session("a")
        plain = await session.ask("Which?")
        typed = await session.ask("Which?", output=City)
    counts = [reply.trace.context["local"].tokens or 0 for reply in (plain, typed)]
    assert counts[1] > counts[0] + 30


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_wrong_answer_never_serves_a_turn(policy: str, tmp_path: Path) -> None:
    local, api = engine(WRONG), engine(ROME)
    if policy == "local":
        local = engine(WRONG, ROME)
    async with (
        open_scripted(tmp_path, local=local, api=api, policy=policy) as runtime,
        runtime.session("a").stream("Which?", output=City) as turn,
    ):
        values = [value async for value in turn.objects()]
    assert turn.reply.output == City(name="Rome", people=3)
    assert turn.reply.text == ROME
    assert values[-1] == {"name": "Rome", "people": 3}
    served = [leg for leg in turn.reply.trace.legs if leg.state == "won"]
    assert [leg.track for leg in served] == ["local" if policy == "local" else "api"]


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_track_is_asked_once_to_correct_its_answer(policy: str, tmp_path: Path) -> None:
    local, api = (ScriptedEngine(reply=corrected, capabilities=KEEPS_SCHEMAS) for _ in range(2))
    async with open_scripted(tmp_path, local=local, api=api, policy=policy) as runtime:
        reply = await runtime.session("a").ask("Which?", output=City)
    assert reply.output == City(name="Rome", people=3)
    (won,) = (leg for leg in reply.trace.legs if leg.state == "won")
    assert won.why.startswith("corrects the answer of leg")
    messages = (local if won.track == "local" else api).requests[-1].messages
    assert [message.role for message in messages[-3:]] == ["user", "assistant", "user"]
    assert messages[-2].content == WRONG
    assert "field 'people': Input should be a valid integer" in messages[-1].content


@pytest.mark.parametrize("policy", POLICIES)
async def test_if_nothing_validates_the_causes_name_the_fields(policy: str, tmp_path: Path) -> None:
    local, api = engine(WRONG), engine('{"name": 3, "people": 3}')
    async with open_scripted(tmp_path, local=local, api=api, policy=policy) as runtime:
        with pytest.raises(AllTracksFailed) as caught:
            await runtime.session("a").ask("Which?", output=City)
        history = await runtime.session("a").history()
    kinds = {cause.kind for cause in caught.value.causes}
    tracks = [cause.track for cause in caught.value.causes]
    assert kinds == {ErrorKind.INVALID_ANSWER}
    assert all(tracks.count(track) == 2 for track in tracks)
    assert all("field 'people'" in str(c) or "field 'name'" in str(c) for c in caught.value.causes)
    assert history == []


async def test_what_was_shown_of_a_wrong_answer_is_withdrawn_by_a_restart(tmp_path: Path) -> None:
    local, api = engine(WRONG), engine(ROME)
    async with (
        open_scripted(tmp_path, local=local, api=api, policy="hedge") as runtime,
        runtime.session("a").stream("Which?", output=City) as turn,
    ):
        events = [event async for event in turn]
    (rejected,) = (event for event in events if isinstance(event, LegRejected))
    (takeover,) = (event for event in events if isinstance(event, Takeover))
    assert rejected.why == "field 'people': Input should be a valid integer"
    assert (takeover.restarts, takeover.from_track, takeover.track) == (True, "local", "api")
    assert states(turn.reply) == [("local", "rejected"), ("api", "won")]


async def test_objects_begin_anew_after_a_restart(tmp_path: Path) -> None:
    local = ScriptedEngine(
        scripts=[[Say('{"name": "Ro'), Say('me", '), Say('"people": null}')], [Say(ROME)]],
        capabilities=KEEPS_SCHEMAS,
    )
    async with (
        open_scripted(tmp_path, local=local, policy="local") as runtime,
        runtime.session("a").stream("Which?", output=City) as turn,
    ):
        values = [value async for value in turn.objects()]
    full = {"name": "Rome", "people": 3}
    first = [{"name": "Ro"}, {"name": "Rome"}, {"name": "Rome", "people": None}]
    assert values == [*first, None, full]


async def test_a_broken_answer_is_answered_anew_and_not_continued(tmp_path: Path) -> None:
    local = ScriptedEngine(Say('{"name": "Pa'), Fail(ErrorKind.NETWORK), capabilities=KEEPS_SCHEMAS)
    api = engine(ROME)
    async with open_scripted(tmp_path, local=local, api=api, policy="hedge") as runtime:
        reply = await runtime.session("a").ask("Which?", output=City)
    assert api.requests[0].prefix == ""
    assert (reply.text, reply.output) == (ROME, City(name="Rome", people=3))


@pytest.mark.parametrize(("people", "amended"), [(3, False), (4, True)])
async def test_refine_amends_a_value_that_differs_and_keeps_an_equal_one(
    people: int, amended: bool, tmp_path: Path
) -> None:
    first_is_whole = anyio.Event()
    local = engine('{"people": 3, "name": "Rome"}')
    api = ScriptedEngine(
        Wait(first_is_whole),
        Say(json.dumps({"name": "Rome", "people": people})),
        capabilities=KEEPS_SCHEMAS,
    )
    async with (
        open_scripted(tmp_path, local=local, api=api, policy="refine") as runtime,
        runtime.session("a").stream("Which?", output=City) as turn,
    ):
        async for event in turn:
            if isinstance(event, LegFinished):
                first_is_whole.set()
    assert turn.reply.output == City(name="Rome", people=people)
    assert (("local", "amended") in states(turn.reply)) == amended


async def test_the_deadline_serves_no_part_of_a_value(tmp_path: Path) -> None:
    local = ScriptedEngine(Say('{"name": "Rome"'), Hang(), capabilities=KEEPS_SCHEMAS)
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        with pytest.raises(AllTracksFailed) as caught:
            await runtime.session("a").ask("Which?", output=City, deadline_s=2.0)
    assert [cause.kind for cause in caught.value.causes] == [ErrorKind.TIMEOUT]
    assert caught.value.partial == '{"name": "Rome"'


async def test_an_answer_at_its_token_limit_says_so(tmp_path: Path) -> None:
    local = engine('{"name": "Ro')
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        with pytest.raises(AllTracksFailed, match="its JSON is not complete"):
            await runtime.session("a").ask("Which?", output=City, sampling=Sampling(max_tokens=64))


@pytest.mark.parametrize("policy", POLICIES)
async def test_tools_run_before_a_typed_answer(policy: str, tmp_path: Path) -> None:
    runs: list[str] = []

    @vanta.tool(effect="read")
    def look_up(city: str) -> str:
        """Return the people of a city."""
        runs.append(city)
        return "3"

    def reply(request: GenerationRequest) -> list[Any]:
        if not any(message.role == "tool" for message in request.messages):
            return [CallTool("look_up", '{"city": "Rome"}')]
        if request.sampling.json_schema is None:
            return ["It has 3 people, as far as I know."]
        return [ROME]

    local = ScriptedEngine(reply=reply, capabilities=KEEPS_SCHEMAS)
    api = ScriptedEngine(reply=reply, capabilities=KEEPS_SCHEMAS)
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=[look_up], policy=policy
    ) as runtime:
        answer = await runtime.session("a").ask("Which?", output=City)
    assert answer.output == City(name="Rome", people=3)
    assert runs == ["Rome"]
    assert answer.trace.rounds == 2


async def test_objects_of_a_turn_with_tools_are_those_of_the_last_round(tmp_path: Path) -> None:
    @vanta.tool(effect="read")
    def look_up(city: str) -> str:
        """Return the people of a city."""
        return "3"

    def reply(request: GenerationRequest) -> list[Any]:
        if any(message.role == "tool" for message in request.messages):
            return [ROME]
        return ['I look it up: {"name": "no"} ', CallTool("look_up", '{"city": "Rome"}')]

    local = ScriptedEngine(reply=reply, capabilities=KEEPS_SCHEMAS)
    async with (
        open_scripted(tmp_path, local=local, own_tools=[look_up], policy="local") as runtime,
        runtime.session("a").stream("Which?", output=City) as turn,
    ):
        values = [value async for value in turn.objects()]
    assert values[-1] == {"name": "Rome", "people": 3}
    assert turn.reply.output == City(name="Rome", people=3)
    assert turn.reply.text.endswith(f"\n\n{ROME}")


async def test_a_cascade_does_not_compare_the_script_of_json_with_the_question(
    tmp_path: Path,
) -> None:
    local = engine(json.dumps({"name": "Rome in Italy, a city", "people": 3}))
    async with open_scripted(tmp_path, local=local, api=engine(ROME), policy="cascade") as runtime:
        reply = await runtime.session("a").ask("Какой город самый большой в Италии?", output=City)
    assert states(reply) == [("local", "won")]


async def test_the_record_of_a_wrong_answer_has_no_word_of_it(tmp_path: Path) -> None:
    def refuse(name: str) -> str:
        raise ValueError(f"{name} is not a city")

    class Place(BaseModel):
        name: Annotated[str, AfterValidator(refuse)]

    local = engine('{"name": "Hushville"}')
    events: list[Event] = []
    async with open_scripted(tmp_path, local=local, policy="local") as runtime:
        with pytest.raises(AllTracksFailed) as caught:
            await follow(runtime.session("a"), events, Place)
    records = [event.to_dict() for event in events if not isinstance(event, TextDelta)]
    assert "Hushville" not in json.dumps(records)
    assert "Hushville" not in str(caught.value)
    assert "Hushville is not a city" in local.requests[1].messages[-1].content


async def test_every_leg_of_a_typed_answer_is_paid(tmp_path: Path) -> None:
    config = {"tracks": {"api": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}}}
    api = engine(WRONG, ROME)
    async with open_scripted(tmp_path, api=api, policy="api", config=config) as runtime:
        reply = await runtime.session("a").ask("Which?", output=City)
    costs = [leg.cost_usd for leg in reply.trace.legs]
    assert len(costs) == 2
    assert all(cost > 0 for cost in costs)
    assert reply.cost_usd == pytest.approx(sum(costs))


async def test_takeover_fail_still_lets_the_track_correct_itself(tmp_path: Path) -> None:
    config = {"policies": {"strict": {"base": "hedge", "takeover": "fail"}}}
    local, api = engine(WRONG, ROME), engine(ROME)
    async with open_scripted(
        tmp_path, local=local, api=api, policy="strict", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Which?", output=City)
    assert states(reply) == [("local", "rejected"), ("local", "won")]


async def test_objects_need_an_output(tmp_path: Path) -> None:
    async with (
        open_scripted(tmp_path, local=engine(ROME), policy="local") as runtime,
        runtime.session("a").stream("Which?") as turn,
    ):
        with pytest.raises(UsageError, match="'output'"):
            turn.objects()
        text = [shown async for shown in turn.text()]
    assert text[-1] == ROME


async def test_two_forms_of_one_answer_are_a_usage_error(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=engine(ROME), policy="local") as runtime:
        with pytest.raises(UsageError, match=r"sampling\.grammar"):
            await runtime.session("a").ask(
                "?", output=City, sampling=Sampling(grammar="root ::= 1")
            )
        with pytest.raises(UsageError, match="no JSON Schema"):
            await runtime.session("a").ask("?", output=object())


def test_the_synchronous_facade_has_typed_answers(tmp_path: Path) -> None:
    with open_scripted(tmp_path, local=engine(ROME), policy="local") as runtime:
        session = runtime.session("a")
        reply = session.ask("Which?", output=City)
        with session.stream("Which?", output=City) as turn:
            values = list(turn.objects())
    assert_type(reply.output, City)
    assert_type(turn.reply.output, City)
    assert reply.output == turn.reply.output == City(name="Rome", people=3)
    assert values[-1] == {"name": "Rome", "people": 3}
