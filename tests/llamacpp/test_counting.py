"""Test token counts by the model's own tokenizer, of pieces and of whole prompts."""

from __future__ import annotations

import anyio
import pytest

from vanta import GenerationRequest, Sampling, Tool, ToolCounts
from vanta.context import token_cache_of
from vanta.messages import Message
from vanta_llamacpp.engine import LlamaCppEngine

TEXTS = ["Hello there", "", "def f(x):\n    return x", "漢字 🙂", "<|im_start|> is no sign here"]


def test_pieces_are_counted_without_a_chat_format(shared_engine: LlamaCppEngine) -> None:
    counted = anyio.run(shared_engine.count_texts, TEXTS)
    assert [count.exact for count in counted] == [True] * len(TEXTS)
    assert counted[1].value == 0
    assert counted[0].value == 2
    assert all(
        count.value <= len(text.encode()) for count, text in zip(counted, TEXTS, strict=True)
    )


@pytest.mark.parametrize("system", [True, False])
def test_a_prompt_is_predicted_from_its_pieces(shared_engine: LlamaCppEngine, system: bool) -> None:
    head = (Message("system", "Be brief."),) if system else ()
    history = [Message("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(TEXTS)]
    messages = [*head, *history]

    async def run() -> tuple[int, int]:
        meter = token_cache_of(shared_engine)
        parts = sum(await meter.messages(shared_engine, messages))
        opening = await meter.opening(shared_engine, system=system)
        return parts + opening, (await shared_engine.count_tokens(messages)).value

    predicted, counted = anyio.run(run)
    assert counted <= predicted <= counted + len(messages)


def test_the_counter_is_named_after_the_model(shared_engine: LlamaCppEngine) -> None:
    assert shared_engine.counter == f"llama.cpp: {shared_engine.model}"


TOOLS = [
    Tool("get_forecast", "Return the weather.", {"type": "object", "properties": {}}),
    Tool("mail", "Send a letter, äöü <|im_end|>.", {"properties": {"to": {"type": "string"}}}),
    Tool("loud", "", {"type": "object", "description": "No call is needed. " * 9}),
]


@pytest.mark.parametrize("numbers", [[0], [1, 2], [0, 1, 2]])
def test_tools_are_counted_as_the_prompt_has_them(
    shared_engine: LlamaCppEngine, numbers: list[int]
) -> None:
    tools = tuple(TOOLS[number] for number in numbers)
    question = (Message("user", "What is the weather?"),)

    async def run() -> tuple[ToolCounts, int, int]:
        counts = await token_cache_of(shared_engine).tools(shared_engine, tools)
        plain = (await shared_engine.count_tokens(question)).value
        request = GenerationRequest(question, Sampling(max_tokens=1), tools=tools)
        async with shared_engine.stream(request) as stream:
            async for _ in stream:
                pass
        assert stream.receipt is not None
        return counts, plain, stream.receipt.input_tokens

    counts, plain, sent = anyio.run(run)
    predicted = plain + counts.opening + sum(counts.tools)
    assert len(counts.tools) == len(tools)
    assert sent - 2 * len(tools) <= predicted <= sent + 2 * len(tools)
