"""The request: every sampling parameter has a field, or an error says that there is none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.openai.support import answer_of, engine_at, request
from vanta.engine import GenerationRequest, Sampling
from vanta.errors import EngineError, ErrorKind
from vanta.testing import Upstream

pytestmark = pytest.mark.anyio


async def body_sent_for(generation: GenerationRequest, **options: Any) -> dict[str, Any]:
    """Return the request body that the server received."""
    async with Upstream() as upstream, engine_at(upstream.base_url, **options) as engine:
        await answer_of(engine, generation)
        return dict((await upstream.chat()).body)


async def test_a_salt_keeps_the_cached_prefixes_of_users_apart() -> None:
    salts = [
        (await body_sent_for(request("Hi", scope=scope), cache_salt=True))["cache_salt"]
        for scope in ("user tom", "user tom", "user liz")
    ]
    assert salts[0] == salts[1] != salts[2]
    assert "tom" not in salts[0]
    assert len(salts[0]) == 64


async def test_a_plain_request_contains_no_optional_fields() -> None:
    assert await body_sent_for(request("Hi")) == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("sampling", "fields"),
    [
        (Sampling(temperature=0.0), {"temperature": 0.0}),
        (Sampling(top_p=0.5), {"top_p": 0.5}),
        (Sampling(presence_penalty=0.1), {"presence_penalty": 0.1}),
        (Sampling(frequency_penalty=0.2), {"frequency_penalty": 0.2}),
        (Sampling(seed=0), {"seed": 0}),
        (Sampling(stop=("a", "b")), {"stop": ["a", "b"]}),
        (Sampling(logit_bias={7: -1.0}), {"logit_bias": {"7": -1.0}}),
        (Sampling(logprobs=0), {"logprobs": True, "top_logprobs": 0}),
        (Sampling(max_tokens=5), {"max_tokens": 5}),
        (
            Sampling(json_schema={"type": "object"}),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "answer",
                        "strict": True,
                        "schema": {"type": "object"},
                    },
                }
            },
        ),
    ],
)
async def test_sampling_is_sent_in_openais_fields(
    sampling: Sampling, fields: dict[str, Any]
) -> None:
    body = await body_sent_for(request(sampling=sampling))
    assert {name: body.get(name) for name in fields} == fields
    assert set(body) - set(fields) == {"model", "messages", "stream", "stream_options"}


async def test_the_name_of_the_token_limit_is_an_option() -> None:
    generation = request(sampling=Sampling(max_tokens=5))
    body = await body_sent_for(generation, max_tokens_field="max_completion_tokens")
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


EXTENDED = [
    (Sampling(top_k=1), {"top_k": 1}),
    (Sampling(min_p=0.1), {"min_p": 0.1}),
    (Sampling(typical_p=0.5), {"typical_p": 0.5}),
    (Sampling(dry_multiplier=0.8), {"dry_multiplier": 0.8}),
    (Sampling(repeat_penalty=1.1), {"repeat_penalty": 1.1, "repetition_penalty": 1.1}),
    (Sampling(grammar="root ::= x"), {"grammar": "root ::= x"}),
]


@pytest.mark.parametrize(("sampling", "fields"), EXTENDED)
async def test_sampling_that_openai_lacks_needs_the_option_extended_sampling(
    sampling: Sampling, fields: dict[str, Any]
) -> None:
    with pytest.raises(EngineError, match="extended_sampling") as caught:
        await body_sent_for(request(sampling=sampling))
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    body = await body_sent_for(request(sampling=sampling), extended_sampling=True)
    assert {name: body.get(name) for name in fields} == fields


async def test_a_prefix_needs_the_option_prefix_continuation() -> None:
    with pytest.raises(EngineError, match="prefix_continuation") as caught:
        await body_sent_for(request(prefix="Once upon"))
    assert caught.value.kind is ErrorKind.UNSUPPORTED


async def test_a_prefix_is_sent_as_the_last_message() -> None:
    body = await body_sent_for(request(prefix="Once upon"), prefix_continuation=True)
    assert body["messages"][-1] == {"role": "assistant", "content": "Once upon"}
    assert "continue_final_message" not in body


async def test_a_prefix_for_vllm_comes_with_its_own_fields() -> None:
    body = await body_sent_for(request(prefix="Once upon"), prefix_continuation="vllm")
    assert body["messages"][-1] == {"role": "assistant", "content": "Once upon"}
    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False
    without = await body_sent_for(request(), prefix_continuation="vllm")
    assert "continue_final_message" not in without


async def test_capabilities_follow_from_the_options() -> None:
    async with engine_at(None) as plain:
        assert not plain.capabilities.grammar
        assert not plain.capabilities.prefix_continuation
    async with engine_at(None, extended_sampling=True, prefix_continuation="vllm") as more:
        assert more.capabilities.grammar
        assert more.capabilities.prefix_continuation
