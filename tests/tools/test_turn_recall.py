"""Turns with more tools than fit: which are shown to which track, and how others are found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta import GenerationRequest, Reply, Tool, ToolResult, ToolsTrace, TurnOptions
from vanta.errors import EmbedderError
from vanta.testing import CallTool, HashEmbedder, ScriptedEngine, Wait, hash_plugin

pytestmark = pytest.mark.anyio

THINGS = ("orders", "invoices", "parcels", "tickets", "visits", "refunds", "loans", "leases")
VERBS = ("opened", "closed", "paid", "moved", "merged", "lost", "found", "signed")

MAIL_DETAILS = " to a person, with a subject, a text and files, in the name of this whole office."


class Office(vanta.Toolset):
    """Sixty-six tools: far more than a small window holds."""

    name = "office"

    def __init__(self) -> None:
        schema = {
            "type": "object",
            "properties": {"day": {"type": "string", "description": "The day, as in 2026-01-31."}},
        }
        crowd = [
            Tool(
                f"list_{thing}_{verb}",
                f"List the {thing} that were {verb} by a customer lately.",
                schema,
                effect="read",
                private=True,
            )
            for thing in THINGS
            for verb in VERBS
        ]
        self.listed = [
            *crowd[:30],
            Tool("get_forecast", "Return the weather of the next days.", schema, effect="read"),
            *crowd[30:],
            Tool("send_mail", f"Send an e-mail{MAIL_DETAILS}", schema, private=True),
        ]
        self.called: list[str] = []

    async def tools(self) -> Sequence[Tool]:
        return self.listed

    async def call(self, name: str, arguments: Any, context: Any) -> ToolResult:
        self.called.append(name)
        return ToolResult(f"{name} ran")


def names(request: GenerationRequest) -> list[str]:
    return [tool.name for tool in request.tools]


def results(request: GenerationRequest) -> list[str]:
    last = max(n for n, message in enumerate(request.messages) if message.role == "user")
    return [message.content for message in request.messages[last:] if message.role == "tool"]


def script(*rounds: Sequence[Any], seen: list[GenerationRequest] | None = None) -> ScriptedEngine:
    """Return an engine with an answer for each round of a turn."""

    def reply(request: GenerationRequest) -> Sequence[Any]:
        if seen is not None:
            seen.append(request)
        return rounds[min(len(results(request)), len(rounds) - 1)]

    return ScriptedEngine(reply=reply)


def opened(tmp_path: Path, engine: ScriptedEngine, **given: Any) -> Any:
    tools = {"allow": ["office.*"], **given.pop("tools", {})}
    window = given.pop("window", 4000)
    config = {
        "tools": tools,
        "tracks": {"local": {"window": window, "reply_reserve": 400}},
        "memory": {"enabled": False},
        **given.pop("config", {}),
    }
    own = given.pop("own_tools", [Office()])
    return open_scripted(
        tmp_path, local=engine, own_tools=own, policy="local", config=config, **given
    )


def tools_of(reply: Reply) -> ToolsTrace:
    tools = reply.trace.context[reply.track].tools
    assert tools is not None
    return tools


async def test_a_turn_with_more_tools_than_fit_is_shown_those_of_its_message(
    tmp_path: Path,
) -> None:
    seen: list[GenerationRequest] = []
    async with opened(tmp_path, script(["Sunny."], seen=seen)) as runtime:
        reply = await runtime.session("a").ask("What is the weather in Rome tomorrow?")
    shown, trace = names(seen[0]), tools_of(reply)
    assert shown[-1] == "find_tools"
    assert "get_forecast" in shown
    assert 2 < len(shown) < 40
    assert trace.shown[0].name == "get_forecast"
    assert trace.shown[0].score is not None
    assert trace.shown[0].score > (trace.shown[1].score or 0)
    assert (trace.offered, trace.finder, trace.room) == (66, True, 900)
    assert len(trace.shown) == len(shown) - 1
    assert sum(tool.tokens for tool in trace.shown) < trace.tokens <= 900


async def test_the_trace_has_the_whole_window_and_tools_on_a_line_of_their_own(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, script(["Sunny."])) as runtime:
        reply = await runtime.session("a").ask("The weather?")
        context, tools = reply.trace.context["local"], tools_of(reply)
        (record,) = await runtime.store.records(limit=1)
    assert context.window == 4000
    assert context.budget == 4000 - 400 - tools.tokens
    restored = vanta.Trace.from_dict(record["trace"])
    assert restored.context["local"].tools == tools


async def test_tools_that_fit_are_shown_whole_and_not_ranked(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    office = Office()
    office.listed = office.listed[28:32]
    async with opened(tmp_path, script(["Hi."], seen=seen), own_tools=[office]) as runtime:
        reply = await runtime.session("a").ask("Hello")
    assert list(seen[0].tools) == office.listed
    assert [tool.score for tool in tools_of(reply).shown] == [None] * 4
    assert not tools_of(reply).finder


@pytest.mark.parametrize(
    ("tools", "room"),
    [
        ({"share": 0.5}, 1800),
        ({"share": 0.1}, 360),
        ({"max_schema_tokens": 500}, 500),
        ({"share": 0}, 0),
    ],
)
async def test_the_share_and_the_most_tokens_of_tools_are_configured(
    tools: dict[str, Any], room: int, tmp_path: Path
) -> None:
    async with opened(tmp_path, script(["Hi."]), tools=tools) as runtime:
        reply = await runtime.session("a").ask("The weather?")
    context = reply.trace.context["local"]
    assert context.tools is None or context.tools.tokens <= context.tools.room == room
    assert (context.tools is None) == (room == 0)


async def test_found_tools_are_offered_from_the_next_round_on(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    office = Office()
    engine = script(
        [CallTool("find_tools", '{"query": "send an e-mail"}')],
        [CallTool("send_mail", "{}")],
        ["Sent."],
        seen=seen,
    )
    async with opened(tmp_path, engine, own_tools=[office], tools={"share": 0.06}) as runtime:
        reply = await runtime.session("a").ask("List the orders lost by a customer lately")
    assert reply.text == "Sent."
    assert "send_mail" not in names(seen[0])
    assert "send_mail" in names(seen[1])
    assert "send_mail(day?: string): Send an e-mail" in results(seen[1])[0]
    assert office.called == ["send_mail"]
    assert [(call.tool, call.state) for call in reply.trace.calls] == [
        ("find_tools", "finished"),
        ("send_mail", "finished"),
    ]
    assert "send_mail" in names(seen[2]), "it was called in this turn"


async def test_what_was_found_is_offered_after_the_turn_was_parked(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    rounds: list[list[Any]] = [
        [CallTool("find_tools", '{"query": "send an e-mail"}', id="f")],
        [CallTool("get_forecast", "{}", id="g")],
        ["Sunny."],
    ]
    tools = {"share": 0.1, "ask": ["office.get_forecast"]}
    async with opened(tmp_path, script(*rounds, seen=seen), tools=tools) as runtime:
        with pytest.raises(vanta.ApprovalPending) as parked:
            await runtime.session("a").ask("The weather?", options=TurnOptions(approvals="park"))
    async with opened(tmp_path, script(*rounds, seen=seen), tools=tools) as runtime:
        reply = await runtime.resume(parked.value.turn_id, approve=parked.value.calls)
    assert reply.text == "Sunny."
    assert ["send_mail" in names(request) for request in seen] == [False, True, True]


async def test_the_tools_of_a_turn_stay_the_same_from_round_to_round(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    engine = script([CallTool("get_forecast", "{}")], ["Sunny."], seen=seen)
    async with opened(tmp_path, engine, private=("local",)) as runtime:
        await runtime.session("a").ask("The weather?")
    assert len(seen) == 2
    assert seen[0].tools == seen[1].tools


async def test_a_tool_that_an_earlier_turn_called_stays_offered(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    engine = script([CallTool("send_mail", "{}")], ["Sent."], seen=seen)
    async with opened(tmp_path, engine, tools={"share": 0.1}) as runtime:
        await runtime.session("a").ask("Send an e-mail to Bob")
        await runtime.session("a").ask("The invoices that were lost?")
        await runtime.session("b").ask("The invoices that were lost?")
    assert "send_mail" in names(seen[2])
    assert "list_invoices_lost" in names(seen[2])
    assert "send_mail" not in names(seen[4]), "another session"


async def test_a_forced_tool_is_always_offered(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    engine = script([CallTool("list_loans_merged", "{}")], ["Done."], seen=seen)
    async with opened(tmp_path, engine, tools={"share": 0}) as runtime:
        options = TurnOptions(tool_choice="list_loans_merged")
        reply = await runtime.session("a").ask("The weather?", options=options)
    assert names(seen[0]) == ["list_loans_merged"]
    assert reply.trace.calls[0].state == "finished"


async def test_each_track_is_shown_what_fits_its_own_window(tmp_path: Path) -> None:
    small: list[GenerationRequest] = []
    large: list[GenerationRequest] = []
    config = {
        "tracks": {
            "local": {"window": 3000, "reply_reserve": 400},
            "api": {"window": 40_000, "reply_reserve": 400},
        },
        "memory": {"enabled": False},
        "tools": {"allow": ["office.*"]},
    }
    asked = anyio.Event()

    def local_reply(request: GenerationRequest) -> Sequence[Any]:
        small.append(request)
        asked.set()
        return ["Local."]

    local = ScriptedEngine(reply=local_reply)
    api = script([Wait(asked), "Api."], seen=large)
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=[Office()], policy="race", config=config
    ) as runtime:
        await runtime.session("a").ask("The weather?", policy="race")
        await runtime.session("b").ask("The weather?", policy="api")
    assert len(names(large[0])) == 66
    assert len(names(small[0])) < 30


async def test_a_long_message_leaves_less_room_for_tools(tmp_path: Path) -> None:
    """Tools give way to a message that fills the window, rather than refuse it."""
    seen: list[GenerationRequest] = []
    message = "The weather? " + "word " * 3200
    async with opened(tmp_path, script(["Hi."], seen=seen)) as runtime:
        reply = await runtime.session("a").ask(message)
    assert reply.text == "Hi."
    context = reply.trace.context["local"]
    tools = context.tools.tokens if context.tools else 0
    assert (context.tokens or 0) + tools <= 3600


async def test_a_search_that_finds_nothing_names_the_toolsets(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    engine = script([CallTool("find_tools", '{"query": "xyzzy"}')], ["No."], seen=seen)
    async with opened(tmp_path, engine, tools={"share": 0.1}) as runtime:
        await runtime.session("a").ask("The weather?")
    assert "No tool fits" in results(seen[1])[0]
    assert "office" in results(seen[1])[0]


async def test_tools_follow_a_toolset_that_changes_between_turns(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    office = Office()
    async with opened(tmp_path, script(["Hi."], seen=seen), own_tools=[office]) as runtime:
        await runtime.session("a").ask("Paint a picture of a horse")
        painted = Tool("get_forecast", "Paint a picture of an animal.", {"type": "object"})
        office.listed = [painted if it.name == painted.name else it for it in office.listed]
        reply = await runtime.session("a").ask("Paint a picture of a horse")
    assert painted not in seen[0].tools
    assert tools_of(reply).shown[0].name == "get_forecast"
    assert painted in seen[1].tools


async def test_a_follow_up_is_shown_the_same_tools_and_another_topic_others(
    tmp_path: Path,
) -> None:
    """A cached prompt begins with its tools, so they only change if the message needs others."""
    seen: list[GenerationRequest] = []
    async with opened(tmp_path, script(["Fine."], seen=seen)) as runtime:
        session = runtime.session("a")
        await session.ask("Which invoices were lost?")
        await session.ask("And which of the invoices were paid?")
        await session.ask("How does it look?")
        await session.ask("Which tickets were merged?")
    assert seen[0].tools == seen[1].tools == seen[2].tools
    assert "list_tickets_merged" not in names(seen[2])
    assert "list_tickets_merged" in names(seen[3])


async def test_a_required_call_has_a_tool_whatever_the_share_is(tmp_path: Path) -> None:
    seen: list[GenerationRequest] = []
    engine = script([CallTool("get_forecast", "{}")], ["Sunny."], seen=seen)
    async with opened(tmp_path, engine, tools={"share": 0}) as runtime:
        options = TurnOptions(tool_choice="required")
        reply = await runtime.session("a").ask("The weather?", options=options)
    assert names(seen[0]) == ["get_forecast"]
    assert reply.text == "Sunny."


class Watched(HashEmbedder):
    """An embedder that tells when it has embedded some tools."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ended = anyio.Event()

    async def embed(self, texts: Sequence[str]) -> Any:
        try:
            return await super().embed(texts)
        finally:
            if any(text.startswith("office ") for text in texts):
                self.ended.set()
                self.ended = anyio.Event()


async def ranked_by_meaning(ask: Callable[[], Awaitable[Reply]], embedder: Watched) -> ToolsTrace:
    """Ask until the vectors of all tools are there, or the embedder has failed."""
    with anyio.fail_after(60):
        while True:
            ended, tools = embedder.ended, tools_of(await ask())
            if not tools.note or "failed" in tools.note:
                return tools
            await ended.wait()


def with_embedder(embedder: HashEmbedder) -> dict[str, Any]:
    memory = {"embedder": "hash", "index": "none", "recall_timeout_s": 30.0}
    return {"config": {"memory": memory}, "plugins": [hash_plugin(embedder)]}


async def test_meaning_takes_part_once_the_background_has_made_the_vectors(
    tmp_path: Path,
) -> None:
    embedder = Watched()
    async with opened(tmp_path, script(["Hi."]), **with_embedder(embedder)) as runtime:
        session = runtime.session("a")
        first = tools_of(await session.ask("What is the weather tomorrow?"))
        later = await ranked_by_meaning(lambda: session.ask("What is the weather?"), embedder)
        before = len([text for text in embedder.texts if "get forecast" in text])
        await session.ask("What is the weather in Rome?")
    assert first.note == "the embedder is not loaded yet"
    assert "meaning" not in first.shown[0].parts
    assert later.shown[0].name == "get_forecast"
    assert later.shown[0].parts["meaning"] > 0
    assert len([text for text in embedder.texts if "get forecast" in text]) == before


async def test_a_private_question_never_reaches_an_embedder_that_is_not_private(
    tmp_path: Path,
) -> None:
    embedder = Watched(private=False)
    api = script(["Hi."])
    config = {
        "memory": {"embedder": "hash", "index": "none", "recall_timeout_s": 30.0},
        "tools": {"allow": ["office.*"]},
        "tracks": {name: {"window": 4000, "reply_reserve": 400} for name in ("local", "api")},
    }
    async with open_scripted(
        tmp_path,
        local=script(["Hi."]),
        api=api,
        own_tools=[Office()],
        policy="race",
        config=config,
        plugins=[hash_plugin(embedder)],
    ) as runtime:
        session = runtime.session("a")
        await ranked_by_meaning(lambda: session.ask("The weather?", policy="api"), embedder)
        secret = "The weather at the secret place"
        reply = await runtime.session("b").ask(secret, private=True)
        alone = await runtime.session("c").ask(f"{secret} again", policy="local")
    assert tools_of(reply).note == tools_of(alone).note
    assert tools_of(reply).note == "the turn may be private, and the embedder is not"
    assert not [text for text in embedder.texts if "secret place" in text]


async def test_an_embedder_that_breaks_leaves_the_ranking_to_words(tmp_path: Path) -> None:
    async def broken() -> None:
        raise EmbedderError("the weights are damaged")

    embedder = Watched(before=broken)
    async with opened(tmp_path, script(["Hi."]), **with_embedder(embedder)) as runtime:
        session = runtime.session("a")
        tools = await ranked_by_meaning(lambda: session.ask("What is the weather?"), embedder)
    assert "damaged" in tools.note
    assert tools.shown[0].name == "get_forecast"


async def test_a_constraint_that_a_short_schema_leaves_out_is_checked_and_named(
    tmp_path: Path,
) -> None:
    """The model breaks what it was not shown, reads that in the result, and corrects it."""
    seen: list[GenerationRequest] = []
    office = Office()
    pattern = f"^({'|'.join(f'{letter}BC' for letter in 'ABCDEFGHIJKLMNOP')})-[0-9]{{2}}$"
    code = {"type": "string", "pattern": pattern, "minLength": 6}
    schema = {"type": "object", "properties": {"code": code}, "required": ["code"]}
    details = "Open the door of a room by its code. " + "It stays open for a minute. " * 40
    office.listed.append(Tool("open_door", details, schema))
    engine = script(
        [CallTool("open_door", '{"code": "abc"}', id="a")],
        [CallTool("open_door", '{"code": "ABC-12"}', id="b")],
        ["Open."],
        seen=seen,
    )
    async with opened(tmp_path, engine, own_tools=[office], tools={"share": 0.04}) as runtime:
        reply = await runtime.session("a").ask("Open the door of the room by its code")
    (shown,) = [tool for tool in seen[0].tools if tool.name == "open_door"]
    assert "pattern" not in str(shown.parameters), "the room is too small for more"
    assert "^(ABC|BBC" in results(seen[1])[0]
    assert [call.state for call in reply.trace.calls] == ["refused", "finished"]
    assert office.called == ["open_door"]
