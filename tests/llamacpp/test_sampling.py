"""Test the effect of each sampling parameter on the real model."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from tests.llamacpp.support import STORY, answer, request
from vanta.engine import Sampling
from vanta.errors import EngineError, ErrorKind, InvalidValue
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.native import library
from vanta_llamacpp.sampling.sampler import Sampler, top_tokens

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer"},
        "mood": {"enum": ["calm", "cross"]},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/friend"}, "maxItems": 2},
    },
    "required": ["name", "age", "mood", "friends"],
    "$defs": {
        "friend": {
            "type": "object",
            "properties": {"nick": {"type": "string", "maxLength": 6}},
            "required": ["nick"],
        }
    },
}


async def say(engine: LlamaCppEngine, text: str = STORY, **sampling: Any) -> str:
    """Return the text of an answer."""
    return (await answer(engine, request(text, **sampling))).text


async def test_a_seed_repeats_an_answer_and_another_varies_it(
    shared_engine: LlamaCppEngine,
) -> None:
    texts = [await say(shared_engine, temperature=1.0, seed=seed) for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]


async def test_without_a_seed_answers_vary(shared_engine: LlamaCppEngine) -> None:
    texts = {await say(shared_engine, temperature=1.5, top_p=1.0, min_p=0.0) for _ in range(3)}
    assert len(texts) > 1


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}])
async def test_the_narrowest_parameters_sample_greedily(
    shared_engine: LlamaCppEngine, narrow: dict[str, Any]
) -> None:
    """Each alone leaves only the best token, at any temperature."""
    wide: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    greedy = await say(shared_engine)
    assert await say(shared_engine, temperature=1.5, seed=1, **(wide | narrow)) == greedy
    assert await say(shared_engine, temperature=1.5, seed=1, **wide) != greedy


@pytest.mark.parametrize(
    "penalty",
    [
        {"repeat_penalty": 1.8},
        {"frequency_penalty": 1.5},
        {"presence_penalty": 1.5},
        {"dry_multiplier": 5.0},
    ],
)
async def test_penalties_reduce_repetition(
    shared_engine: LlamaCppEngine, penalty: dict[str, Any]
) -> None:
    """An answer that repeats itself does so less."""
    question = "What is the capital of France?"
    plain = (await say(shared_engine, question, max_tokens=40)).split()
    varied = (await say(shared_engine, question, max_tokens=40, **penalty)).split()
    assert len(set(varied)) / len(varied) > len(set(plain)) / len(plain)


async def test_typical_sampling_narrows_the_choice(shared_engine: LlamaCppEngine) -> None:
    """A typical_p of 1 changes nothing; a small one changes the answer of a seed."""
    wide: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0, "seed": 3}
    plain = await say(shared_engine, **wide)
    assert await say(shared_engine, **wide, typical_p=1.0) == plain
    assert await say(shared_engine, **wide, typical_p=0.2) != plain


async def test_a_logit_bias_forces_or_bans_a_token(shared_engine: LlamaCppEngine) -> None:
    model = shared_engine.loaded_model
    assert model is not None
    token = model.vocabulary.tokenize(" dragon", start=False)[0]
    forced = await say(shared_engine, logit_bias={token: 100.0}, max_tokens=4)
    assert forced == " dragon" * 4
    plain = await answer(shared_engine, request(logprobs=0))
    banned = await answer(shared_engine, request(logprobs=0, logit_bias={token: -100.0}))
    assert " dragon" in [entry.token for entry in plain.logprobs]
    assert " dragon" not in [entry.token for entry in banned.logprobs]


async def test_logprobs_are_a_distribution_and_greedy_takes_the_top(
    shared_engine: LlamaCppEngine,
) -> None:
    """Each is at most 0, the best first, the probabilities sum to at most 1."""
    completion = await answer(shared_engine, request(STORY, logprobs=5))
    assert completion.usage is not None
    assert len(completion.logprobs) == completion.usage.output_tokens
    assert "".join(token.token for token in completion.logprobs) == completion.text
    for token in completion.logprobs:
        values = [logprob for _, logprob in token.top]
        assert token.top[0] == (token.token, token.logprob)
        assert values == sorted(values, reverse=True)
        assert sum(math.exp(value) for value in values) <= 1 + 1e-6
        assert token.logprob <= 0


async def test_logprobs_without_alternatives(shared_engine: LlamaCppEngine) -> None:
    """0 alternatives still return the logprob of each token."""
    completion = await answer(shared_engine, request(STORY, logprobs=0))
    assert completion.logprobs
    assert all(token.top == () for token in completion.logprobs)


async def test_stop_strings_end_answers_wherever_they_fall(shared_engine: LlamaCppEngine) -> None:
    """Inside tokens and across them; the answer is the text before the stop string."""
    whole = await say(shared_engine)
    for at, length in itertools.product((3, 10, 17, 30), (1, 3, 9)):
        stop = whole[at : at + length]
        completion = await answer(shared_engine, request(STORY, stop=(stop, "never said")))
        assert completion.text == whole.partition(stop)[0]
        assert completion.finish_reason == "stop"


async def test_a_grammar_is_followed_to_its_end(shared_engine: LlamaCppEngine) -> None:
    """The answer ends where the grammar ends, at any temperature."""
    grammar = 'root ::= ("red" | "green") ", " [0-9] [0-9] "!"'
    for seed in range(3):
        completion = await answer(
            shared_engine, request(STORY, grammar=grammar, temperature=1.2, seed=seed)
        )
        colour, _, number = completion.text.partition(", ")
        assert colour in {"red", "green"}
        assert number[:2].isdigit()
        assert number[2:] == "!"
        assert completion.finish_reason == "stop"


async def test_a_json_schema_is_enforced(shared_engine: LlamaCppEngine) -> None:
    """At any temperature."""
    for seed in range(3):
        text = await say(
            shared_engine, json_schema=PERSON, temperature=1.3, seed=seed, max_tokens=200
        )
        person = json.loads(text)
        assert list(person) == ["name", "age", "mood", "friends"]
        assert len(person["name"]) <= 12
        assert isinstance(person["age"], int)
        assert person["mood"] in {"calm", "cross"}
        assert all(len(friend["nick"]) <= 6 for friend in person["friends"])


@pytest.mark.parametrize(
    ("grammar", "named"),
    [
        ("root ::= missing", "GBNF"),
        ("answer ::= [a-z]", "root"),
        ("root ::= root [a-z] | [a-z]", "left-recursive"),
        ("", "empty"),
        ("root ::= [^x] !<[3]>", "tokens"),
        ('root ::= "a"{3,1}', "has the repetition"),
        ('root ::= "a"{0,99999}', "has the repetition"),
        ('root ::= "a"{' + "9" * 5000 + ",}", "has the repetition"),
        ('root ::= "\ud800"', "surrogate"),
        ("root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "levels deep"),
        ("root ::= " + '"a" ' * 20_000, "characters"),
    ],
)
async def test_a_bad_grammar_is_refused(
    shared_engine: LlamaCppEngine, grammar: str, named: str
) -> None:
    """It neither crashes the process nor is ignored."""
    with pytest.raises(EngineError, match=named) as raised:
        await say(shared_engine, grammar=grammar)
    assert raised.value.kind is ErrorKind.BAD_REQUEST
    assert raised.value.suggestion


async def test_a_bias_of_minus_infinity_bans_a_token(shared_engine: LlamaCppEngine) -> None:
    """Even if a grammar prefers it."""
    model = shared_engine.loaded_model
    assert model is not None
    (yes,) = model.vocabulary.tokenize("yes", start=False)
    grammar = 'root ::= "yes" | "no"'
    completion = await answer(
        shared_engine, request(grammar=grammar, logit_bias={yes: -math.inf}, logprobs=0)
    )
    assert completion.text in {"no", "yes"}
    assert "yes" not in [token.token for token in completion.logprobs]


@pytest.mark.parametrize("count", [1, 9, 40])
async def test_a_schema_continues_a_given_prefix(shared_engine: LlamaCppEngine, count: int) -> None:
    """As a takeover does: prefix and continuation together are valid."""
    whole = await say(shared_engine, json_schema=PERSON, max_tokens=200)
    query = request(prefix=whole[:count], json_schema=PERSON, max_tokens=200)
    rest = (await answer(shared_engine, query)).text
    person = json.loads(whole[:count] + rest)
    assert list(person) == ["name", "age", "mood", "friends"]


async def test_a_prefix_that_the_grammar_forbids_is_refused(
    shared_engine: LlamaCppEngine,
) -> None:
    """llama.cpp itself would end the process."""
    query = request(prefix="Once upon", grammar='root ::= "yes" | "no"')
    with pytest.raises(EngineError, match="begins with the given prefix") as raised:
        await answer(shared_engine, query)
    assert raised.value.kind is ErrorKind.BAD_REQUEST
    assert await say(shared_engine), "the engine no longer answers"


async def test_a_grammar_that_leaves_no_token_is_an_error(shared_engine: LlamaCppEngine) -> None:
    """llama.cpp itself would end the process. Here every allowed token is banned."""
    model = shared_engine.loaded_model
    assert model is not None
    eos = [token for token in range(20) if model.vocabulary.is_end(token)]
    bias = dict.fromkeys(eos, -math.inf)
    with pytest.raises(EngineError, match="allows no further token") as raised:
        await say(shared_engine, grammar='root ::= "a"', logit_bias=bias)
    assert raised.value.kind is ErrorKind.BAD_REQUEST
    assert await say(shared_engine), "the engine no longer answers"


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_p": 1.1},
        {"top_k": -1},
        {"min_p": 2.0},
        {"max_tokens": 0},
        {"repeat_penalty": 0.0},
        {"typical_p": 0.0},
        {"dry_multiplier": -1.0},
        {"logprobs": 21},
        {"stop": ("",)},
        {"logit_bias": {10**6: 1.0}},
        {"logit_bias": {5: math.nan}},
        {"logit_bias": {5: math.inf}},
        {"logit_bias": {5: "2"}},
        {"temperature": "hot"},
        {"seed": 3.0},
        {"grammar": 'root ::= "a"', "json_schema": {}},
    ],
)
async def test_invalid_values_are_refused(
    shared_engine: LlamaCppEngine, wrong: dict[str, Any]
) -> None:
    """By `Sampling` itself, or by the engine if only it knows what is possible."""
    with pytest.raises((EngineError, InvalidValue)) as raised:
        await say(shared_engine, **wrong)
    if isinstance(raised.value, EngineError):
        assert raised.value.kind is ErrorKind.BAD_REQUEST


async def test_a_schema_that_cannot_be_enforced_is_refused(shared_engine: LlamaCppEngine) -> None:
    with pytest.raises(EngineError, match="multipleOf") as raised:
        await say(shared_engine, json_schema={"type": "integer", "multipleOf": 5})
    assert raised.value.kind is ErrorKind.UNSUPPORTED


async def test_deltas_contain_whole_characters(shared_engine: LlamaCppEngine) -> None:
    """A grammar forces characters of several tokens."""
    grammar = 'root ::= "日本語 🙂🙃 naïve"'
    deltas = []
    async with shared_engine.stream(request("Say it.", grammar=grammar, max_tokens=40)) as stream:
        deltas = [delta.text async for delta in stream]
    assert "".join(deltas) == "日本語 🙂🙃 naïve"
    assert not any("\ufffd" in text for text in deltas)


@pytest.mark.parametrize("size", [1, 63, 64, 1000, 4096])
@pytest.mark.parametrize("count", [1, 2, 40, 5000])
def test_the_top_tokens_are_found_without_sorting(size: int, count: int) -> None:
    """All of them, equal ones included."""
    logits = np.random.default_rng(size).integers(0, 50, size).astype(np.float32)
    ids = top_tokens(logits, count)
    floor = np.sort(logits)[-min(count, size)]
    assert set(np.flatnonzero(logits > floor)) <= set(ids)
    assert len(ids) >= min(count, size)
    assert list(ids) == sorted(ids)


def test_every_token_is_a_top_token_if_logits_are_nan() -> None:
    """An empty list would crash llama.cpp."""
    logits = np.full(1000, np.nan, dtype=np.float32)
    assert len(top_tokens(logits, 5)) == 1000


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.0),
        Sampling(temperature=0.0, repeat_penalty=1.3),
        Sampling(temperature=0.0, logit_bias={7: 4.0, 8: -30.0, 10_000_000: 5.0}),
        Sampling(seed=1),
        Sampling(seed=1, top_k=3, repeat_penalty=1.5, presence_penalty=2.0),
        Sampling(seed=1, top_k=5, frequency_penalty=-1.0),
        Sampling(seed=1, top_k=0, top_p=0.5),
        Sampling(seed=1, typical_p=0.6, dry_multiplier=0.8),
        Sampling(seed=1, temperature=1.7, top_p=1.0, min_p=0.0, logit_bias={3: 12.0}),
    ],
)
async def test_the_shortlist_changes_no_token(
    shared_engine: LlamaCppEngine, sampling: Sampling
) -> None:
    """Compared with the whole vocabulary, on logits of which no two are equal."""
    await shared_engine.load()
    model = shared_engine.loaded_model
    assert model is not None
    vocabulary, chance = model.vocabulary, np.random.default_rng(5)
    short, whole = (
        Sampler(library(), vocabulary, sampling, None, Faults("small"), shortlist=shortlist)
        for shortlist in (True, False)
    )
    pairs = []
    for _ in range(60):
        logits = chance.permutation(vocabulary.size).astype(np.float32) / 3000
        logits[:40] += 10  # the same few are likely again and again
        pair = short.draw(logits), whole.draw(logits)
        pairs.append(pair)
        for sampler, token in zip((short, whole), pair, strict=True):
            sampler.accept_prompt([token])
    short.close()
    whole.close()
    assert [token for token, _ in pairs] == [token for _, token in pairs]
    assert len({token for token, _ in pairs}) > 1
