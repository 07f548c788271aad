"""Typed answers of a real model: whatever it draws is a value of the type."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.llamacpp.support import answer, request
from vanta.runtime.turns.typed import form_of
from vanta_llamacpp.engine import LlamaCppEngine

pytestmark = pytest.mark.anyio


class Colour(enum.Enum):
    RED = "red"
    BLUE = 'the "blue" one'


class Part(BaseModel):
    name: str = Field(min_length=1, max_length=12)
    weight: float = Field(ge=0)
    share: float | None = Field(default=None, gt=0, lt=1)


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: set[str]


class Order(BaseModel):
    number: Annotated[str, Field(pattern=r"^[A-Z]{2}-[0-9]{4}$")]
    day: datetime.date
    parts: list[Part] = Field(min_length=1, max_length=3)
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    colour: Colour
    count: int = Field(gt=0)
    notes: dict[str, bool]


@dataclasses.dataclass
class Point:
    x: int
    y: int | None


class Row(TypedDict):
    title: str
    price: decimal.Decimal


@pytest.mark.parametrize("output", [Order, Tree, Point, Row])
async def test_whatever_a_model_draws_is_of_the_type(
    shared_engine: LlamaCppEngine, output: Any
) -> None:
    form = form_of(output)
    assert form is not None
    query = request("Answer.", temperature=2.0, seed=7, max_tokens=160, json_schema=form.schema)
    completion = await answer(shared_engine, dataclasses.replace(query, checked=True))
    form.read(completion.text)
    assert completion.finish_reason == "stop"
