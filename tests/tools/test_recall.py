"""The tools that a question needs are shown within their share, and others can be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from vanta.errors import EmbedderError
from vanta.tool_contract import Tool, ToolCounts
from vanta.tools.recall import (
    FIND_TOOLS,
    Ranked,
    ToolIndex,
    clauses_of,
    find_tools,
    rank_tools,
    render_json,
    render_signature,
)
from vanta.tools.registry import OfferedTool

pytestmark = pytest.mark.anyio


def offer(name: str, description: str, toolset: str = "things", **parameters: str) -> OfferedTool:
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    tool = Tool(name, description, {"type": "object", "properties": properties})
    return OfferedTool(toolset, tool, name)


WEATHER = offer("get_forecast", "Return the weather of the next days.", city="name of the city")
MAIL = offer("sendMail", "Send an e-mail to a person.", to="address", text="what it says")
AREA = offer("circle.area", "Calculate the area of a circle.", radius="radius of the circle")
FORECAST_ZH = offer("查询天气", "查询一个城市的天气预报")
CROWD = [
    offer(f"list_{thing}_{verb}", f"List the {thing} that were {verb} by a customer lately.")
    for thing in ("orders", "invoices", "parcels", "tickets", "visits", "refunds", "loans")
    for verb in ("opened", "closed", "paid", "moved", "merged", "lost", "found", "signed")
]
TOOLS = [*CROWD[:30], WEATHER, MAIL, *CROWD[30:], AREA, FORECAST_ZH]


async def count(tools: Sequence[Tool]) -> ToolCounts:
    return ToolCounts(0, tuple(-(-len(render_signature(tool)) // 4) for tool in tools))


async def count_json(tools: Sequence[Tool]) -> ToolCounts:
    """As a format with an opening does: it takes tokens once."""
    return ToolCounts(20, tuple(-(-len(render_json(tool)) // 4) for tool in tools))


def names(ranked: Ranked) -> list[str]:
    return [item.offered.name for item in ranked.shown]


async def ranking(question: str, room: int = 160, **options: Any) -> Ranked:
    return await rank_tools(question, TOOLS, room=room, **{"count": count, **options})


async def test_tools_that_fit_are_all_shown_whole_in_the_order_of_the_offer() -> None:
    ranked = await ranking("How is the weather in Rome?", room=10_000)
    assert [item.offered for item in ranked.shown] == TOOLS
    assert [item.tool for item in ranked.shown] == [item.tool for item in TOOLS]
    assert (ranked.hidden, ranked.finder) == ((), False)
    assert ranked.tokens == sum((await count([item.tool for item in TOOLS])).tools)


@pytest.mark.parametrize(
    ("question", "tool"),
    [
        ("What is the weather like in Rome tomorrow?", WEATHER),
        ("Mail Bob that I am late", MAIL),
        ("areas of circles, radius 3", AREA),
        ("明天罗马的天气怎么样？", FORECAST_ZH),  # noqa: RUF001
    ],
)
async def test_the_tool_that_a_question_needs_is_shown_first(
    question: str, tool: OfferedTool
) -> None:
    ranked = await ranking(question)
    assert names(ranked)[0] == tool.name
    assert ranked.shown[0].score > ranked.shown[1].score
    assert ranked.shown[0].detail == "full"
    assert [item for item in TOOLS if item.name not in names(ranked)] == list(ranked.hidden)


@pytest.mark.parametrize("room", [0, 5, 40, 100, 300, 700, 1200])
@pytest.mark.parametrize("counted", [count, count_json])
async def test_what_is_shown_fits_its_room_as_it_is_rendered(room: int, counted: Any) -> None:
    ranked = await ranking("Mail the weather", room=room, count=counted)
    shown = [item.tool for item in ranked.shown] + [FIND_TOOLS] * ranked.finder
    counts = await counted(shown)
    opening = counts.opening if shown else 0
    assert sum(counts.tools) + opening == ranked.tokens <= room
    assert len(ranked.shown) + len(ranked.hidden) == len(TOOLS)
    finder = (await counted([FIND_TOOLS])).tools[0]
    assert ranked.finder == (bool(ranked.hidden) and 2 * finder <= room - counts.opening)


async def test_a_question_with_several_needs_is_shown_a_tool_for_each() -> None:
    question = (
        "List the orders that were opened by the customer lately, list the orders that were paid "
        "lately, then mail them to Bob and get the weather"
    )
    assert len(clauses_of(question)) == 4
    shown = names(await ranking(question, room=200))
    assert {"list_orders_opened", "list_orders_paid", "sendMail", "get_forecast"} <= set(shown)


async def test_a_tool_of_this_turn_stays_and_one_of_the_turn_before_comes_early() -> None:
    recent = {"sendMail": 1, "circle.area": 0, "unknown": 0}
    question = "And the invoices that were paid?"
    shown = names(await ranking(question, room=300, recent=recent))
    assert shown[:2] == ["circle.area", "list_invoices_paid"]
    assert "sendMail" in shown
    assert "sendMail" not in names(await ranking(question, room=300))


async def test_a_tool_is_shown_under_the_name_that_the_model_sees() -> None:
    twin = OfferedTool("work", MAIL.tool, "work_sendMail")
    ranked = await rank_tools("mail from work", [*TOOLS, twin], room=100, count=count)
    assert ranked.shown[0].tool.name == names(ranked)[0] == "work_sendMail"


async def test_an_index_follows_a_tool_that_changes() -> None:
    index = ToolIndex()
    assert names(await ranking("weather", index=index))[0] == "get_forecast"
    changed = OfferedTool("things", Tool("get_forecast", "Paint a picture.", {}), "get_forecast")
    tools = [changed if item is WEATHER else item for item in TOOLS]
    ranked = await rank_tools("paint", tools, room=160, count=count, index=index)
    assert ranked.shown[0].tool == changed.tool


TOPICS = {"weather": 0, "umbrella": 0, "e-mail": 1, "letter": 1, "circle": 2, "round": 2}


class TopicEmbedder:
    """Vectors by the topics of a few words, so that words and meaning differ."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Any:
        import numpy as np

        self.texts += texts
        rows = np.full((len(texts), 4), 0.1, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word, topic in TOPICS.items():
                row[topic] += word in text.lower()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


async def test_meaning_finds_a_tool_that_shares_no_word_with_the_question() -> None:
    embedder, index = TopicEmbedder(), ToolIndex()
    await index.embed_tools(TOOLS, embedder.embed)
    before = len(embedder.texts)
    ranked = await ranking("Shall I take an umbrella?", embed=embedder.embed, index=index)
    assert names(ranked)[0] == "get_forecast"
    assert ranked.shown[0].parts["meaning"] > 0
    assert embedder.texts[before:] == ["Shall I take an umbrella?"]


async def test_tools_without_vectors_are_ranked_by_words() -> None:
    embedder, index = TopicEmbedder(), ToolIndex()
    ranked = await ranking("the weather", embed=embedder.embed, index=index)
    assert (names(ranked)[0], embedder.texts) == ("get_forecast", [])
    assert ranked.note == f"{len(TOOLS)} tools have no vector yet"


async def test_words_decide_if_the_embedder_is_broken_or_slow() -> None:
    index = ToolIndex()

    async def broken(_texts: Sequence[str]) -> Any:
        raise EmbedderError("the weights are damaged")

    async def wrong(_texts: Sequence[str]) -> Any:
        return [[1.0, 0.0]]

    async def odd(texts: Sequence[str]) -> Any:
        return [[float("nan")] * 3 for _ in texts]

    async def slow(_texts: Sequence[str]) -> Any:
        await anyio.sleep_forever()

    few = [WEATHER, MAIL, AREA]
    for question_embed, reason in (
        (broken, "the weights are damaged"),
        (wrong, "the embedder failed"),
        (odd, ""),
        (slow, "longer than 0.25 s"),
    ):

        async def embed(texts: Sequence[str], question_embed: Any = question_embed) -> Any:
            if len(texts) == len(few):
                return [[1.0, 0.0, 0.0]] * len(few)
            return await question_embed(texts)

        await index.embed_tools(few, embed)
        ranked = await rank_tools("weather", few, room=40, count=count, embed=embed, index=index)
        assert names(ranked)[0] == "get_forecast"
        assert reason in ranked.note


async def test_a_need_at_the_end_of_a_very_long_message_is_found() -> None:
    log = "Here is my log file. " + "error 404 orders paid; " * 50_000
    assert "sendMail" not in names(await ranking(log, room=300))
    assert "sendMail" in names(await ranking(f"{log} Mail it to Bob.", room=300))


async def test_schemas_that_lie_are_ranked_and_shown() -> None:
    loop: dict[str, Any] = {"type": "object"}
    loop["properties"] = {"again": loop}
    schemas: list[Any] = [
        {"properties": ["a"], "required": "a"},
        {"properties": {"a": None, "b": {"enum": "x", "type": {}}}},
        {"$ref": 7, "anyOf": {}, "items": [1]},
        loop,
        {"properties": {f"p{number}": {"type": "string"} for number in range(5000)}},
    ]
    lying = [
        OfferedTool("odd", Tool(f"odd{number}", "Do it.", schema), f"odd{number}")
        for number, schema in enumerate(schemas)
    ]
    ranked = await rank_tools("do it", lying, room=120, count=count)
    assert sorted(names(ranked)) == ["odd0", "odd1", "odd2", "odd3"]
    assert ranked.tokens <= 120


async def test_hidden_tools_are_found_and_shown_tools_are_not_found_again() -> None:
    found = await find_tools("send a letter by e-mail", TOOLS, shown=["list_orders_paid"])
    assert found.added[0] == MAIL
    assert found.result.text.splitlines()[1].startswith("sendMail(to?: string, text?: string): ")
    assert found.result.data == {"added": [item.name for item in found.added]}
    again = await find_tools("send an e-mail", TOOLS, shown=["sendMail"])
    assert MAIL not in again.added
    assert again.added == ()
    assert "you have sendMail already" in again.result.text


async def test_a_search_without_result_names_the_toolsets() -> None:
    nothing = await find_tools("xyzzy", TOOLS, shown=["sendMail"])
    assert (nothing.added, nothing.result.is_error) == ((), False)
    assert f"the {len(TOOLS) - 1} other tools are of the toolsets things." in nothing.result.text
    assert (await find_tools("x", [])).result.text == "There are no other tools."


async def test_a_search_without_a_query_lists_the_names_of_hidden_tools() -> None:
    many = [offer(f"count_{number}", "Count.", "numbers") for number in range(120)]
    listed = await find_tools(" \n", [WEATHER, MAIL, *many], shown=["sendMail"])
    lines = listed.result.text.splitlines()
    assert (listed.added, listed.result.is_error) == ((), False)
    assert lines[1] == "things: get_forecast"
    assert lines[2].startswith("numbers: count_0, count_1, ")
    assert lines[3:] == ["and 21 more"]
    assert (await find_tools("", [])).result.text == "There are no other tools."


@pytest.mark.parametrize(
    ("question", "clauses"),
    [
        ("Just one thing please", []),
        ("Book a flight. Then rent a car, and find a hotel", 3),
        ("Compute 3.5 and 4.5", []),
        ("Shall I take an umbrella?", []),
        ("Where did I put the keys?", []),
        ("订一张去罗马的机票，然后查询天气预报。", 2),  # noqa: RUF001
        ("Miete ein Auto und buche ein Hotel", 2),
    ],
)
def test_clauses_are_cut_where_a_language_ends_them(question: str, clauses: Any) -> None:
    assert (clauses_of(question) if clauses == [] else len(clauses_of(question))) == clauses
