"""How a server is asked for an answer under a schema, and what its refusals teach."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import vanta
from tests.openai.support import answer_of, engine_at, request
from vanta.engine import Sampling
from vanta.errors import EngineError
from vanta.runtime.turns.typed import form_of
from vanta.testing import Behaviour, Upstream
from vanta_openai.response_format import strict_schema


class City(BaseModel):
    name: str = Field(min_length=1, max_length=40)
    people: int = Field(default=0, ge=0)
    mayor: str | None = None


ROME = '{"name": "Rome", "people": 3, "mayor": null}'
FORM = form_of(City)
assert FORM is not None
SCHEMA = FORM.schema
TYPED = dataclasses.replace(request(sampling=Sampling(json_schema=SCHEMA)), checked=True)


def refusal(message: str, status: int = 400) -> Behaviour:
    """Return an error of the server."""
    return Behaviour.failure(status, message, kind="BadRequestError")


def test_the_strict_mode_gets_a_closed_schema_with_all_properties() -> None:
    strict = strict_schema(SCHEMA)
    assert strict is not None
    assert strict["required"] == ["name", "people", "mayor"]
    assert strict["additionalProperties"] is False
    assert strict["properties"]["name"] == {"type": "string"}
    assert strict["properties"]["people"] == {"type": "integer", "minimum": 0}


@pytest.mark.parametrize(
    "output", [dict[str, int], list[Any], list[dict[str, str]], tuple[int, str], {"type": "object"}]
)
def test_a_schema_that_the_strict_mode_lacks_has_no_strict_form(output: Any) -> None:
    form = form_of(output)
    assert form is not None
    assert strict_schema(form.schema) is None


@given(
    st.fixed_dictionaries(
        {"name": st.text(min_size=1, max_size=40), "people": st.integers(0), "mayor": st.none()}
    )
)
def test_what_is_valid_under_the_strict_form_is_valid_under_the_schema(value: Any) -> None:
    strict = strict_schema(SCHEMA)
    assert strict is not None
    jsonschema.validate(value, strict)
    jsonschema.validate(value, dict(SCHEMA))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("refusals", "forms"),
    [
        ([], [("json_schema", True)]),
        (
            ["Invalid schema for response_format 'answer': 'pattern' is not permitted"],
            [("json_schema", True), ("json_schema", False)],
        ),
        (
            ["This response_format type is unavailable now"],
            [("json_schema", True), ("json_object", None)],
        ),
        (
            ["'response_format.type' must be 'text'", "'response_format.type' must be 'text'"],
            [("json_schema", True), ("json_object", None), (None, None)],
        ),
    ],
)
async def test_a_server_that_refuses_a_form_gets_the_next_one_and_it_is_remembered(
    refusals: list[str], forms: list[tuple[str | None, bool | None]], tmp_path: Path
) -> None:
    async with Upstream() as server:
        server.then(*map(refusal, refusals), Behaviour.answer(ROME))
        config = {
            "data_dir": str(tmp_path),
            "tracks": {
                "api": {"engine": "openai", "model": "m", "options": {"base_url": server.base_url}},
                "local": {"enabled": False},
            },
            "policy": "api",
        }
        async with vanta.open(config) as runtime:
            first = await runtime.session("a").ask("Which?", output=City)
            again = await runtime.session("b").ask("Which?", output=City)
        bodies = [(await server.chat(n)).body for n in range(len(refusals) + 2)]
    sent = [body.get("response_format") or {} for body in bodies]
    seen = [(form.get("type"), form.get("json_schema", {}).get("strict")) for form in sent]
    assert seen == [*forms, forms[-1]]
    assert first.output == again.output == City(name="Rome", people=3)
    assert len(first.trace.legs) == 1


@pytest.mark.anyio
async def test_a_refusal_for_another_reason_teaches_nothing() -> None:
    async with (
        Upstream(default=refusal("the model is too old")) as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError) as error:
            await answer_of(engine, TYPED)
        learnt = [fact.what for fact in engine.learnt()]
    assert not error.value.resend
    assert "response_format" not in learnt


@pytest.mark.anyio
async def test_what_is_learnt_is_listed_and_can_be_forgotten() -> None:
    async with (
        Upstream(default=refusal("response_format is not supported")) as server,
        engine_at(server.base_url) as engine,
    ):
        with pytest.raises(EngineError):
            await answer_of(engine, TYPED)
        facts = {fact.what: fact.detail for fact in engine.learnt()}
        engine.forget_learnt("response_format")
        after = [fact.what for fact in engine.learnt()]
    assert facts["response_format"] == "json_object"
    assert "response_format" not in after


@pytest.mark.anyio
async def test_a_schema_that_its_caller_does_not_check_is_sent_as_it_is() -> None:
    async with Upstream() as server, engine_at(server.base_url) as engine:
        await answer_of(engine, dataclasses.replace(TYPED, checked=False))
        body = (await server.chat(0)).body
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
