"""Types of answers: their schemas, and what is read of an answer."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypedDict

from vanta.errors import UsageError
from vanta.runtime.turns.typed import form_of
from vanta.scheduling.typed_answers import WrongAnswer


class City(BaseModel):
    """A city."""

    name: str
    people: int = Field(ge=0)


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Movie(TypedDict):
    title: str
    year: int


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Trip(BaseModel):
    day: datetime.date
    stops: dict[str, City]
    by: Literal["train", "car"] | None = None


def _even(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is the secret that must not be shown")
    return value


def _broken(value: int) -> int:
    raise KeyError(f"{value} is missing")


DAY = datetime.date(2026, 11, 30)
WHOLE = "Input should be a valid integer"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("output", "text", "value"),
    [
        (City, '{"name": "Rome", "people": 3}', City(name="Rome", people=3)),
        (Point, '{"x": 1, "y": 2.5}', Point(1.0, 2.5)),
        (Movie, '{"title": "Up", "year": 2009}', {"title": "Up", "year": 2009}),
        (Mood, '{"answer": "bad"}', Mood.BAD),
        (Mood, '"bad"', Mood.BAD),
        (Literal["a", "b"], '{"answer": "b"}', "b"),
        (int, '{"answer": 3}', 3),
        (int, "3", 3),
        (float, '{"answer": 3}', 3.0),
        (decimal.Decimal, '{"answer": 3.10}', decimal.Decimal("3.10")),
        (bool, '{"answer": true}', True),
        (str, '{"answer": "x"}', "x"),
        (list[int], '{"answer": [1, 2]}', [1, 2]),
        (list[int], "Here: [1, 2]", [1, 2]),
        (list[City], '[{"name": "Rome", "people": 3}]', [City(name="Rome", people=3)]),
        (int | list[City] | None, '{"answer": null}', None),
        (City | Point, '{"answer": {"x": 1, "y": 2}}', Point(1.0, 2.0)),
        (dict[str, int], '{"answer": 3}', {"answer": 3}),
        (Node, '{"answer": {"value": 1, "children": [{"value": 2}]}}', None),
        (
            Trip,
            '{"day": "2026-11-30", "stops": {}}',
            Trip(day=DAY, stops={}),
        ),
        (SCHEMA, '{"n": 3}', {"n": 3}),
        ({"enum": ["a", 3]}, '{"answer": 3}', 3),
        ({"enum": ["a", 3]}, '"a"', "a"),
    ],
)
def test_an_answer_is_read_as_a_value_of_the_type(output: Any, text: str, value: Any) -> None:
    form = form_of(output)
    assert form is not None
    assert form.schema["type"] == "object"
    read = form.read(text)
    assert read == (value if output is not Node else Node(value=1, children=[Node(value=2)]))


@pytest.mark.parametrize(
    ("output", "text", "problem"),
    [
        (
            City,
            '{"name": "Rome", "people": "3"}',
            f"field 'people': {WHOLE}",
        ),
        (City, '{"name": "Rome", "people": -1}', "field 'people': Input should be greater than"),
        (City, '{"name": "Rome"}', "field 'people': Field required"),
        (City, "no", "it has no JSON"),
        (City, '{"name": "Ro', "its JSON is not complete"),
        (City, '{"name": "A", "people": 1} or {"name": "B", "people": 2}', "2 different objects"),
        (bool, '{"answer": 1}', "field 'answer': Input should be a valid boolean"),
        (int, '{"answer": "3"}', "field 'answer': Input should be a valid integer"),
        (int, '{"answer": 3, "sure": true}', "Input should be a valid integer"),
        (list[City], '{"answer": [{"name": 3, "people": 1}]}', "field 'answer[0].name'"),
        (Literal["a", "b"], '{"answer": "c"}', "field 'answer': Input should be 'a' or 'b'"),
        (dict[str, int], '{"my secret": "x"}', "field '*': Input should be a valid integer"),
        (
            Annotated[int, AfterValidator(_even)],
            '{"answer": 3}',
            "the rule 'value_error'",
        ),
        (Annotated[int, AfterValidator(_broken)], '{"answer": 3}', "its validator raised KeyError"),
        (SCHEMA, '{"n": "secret"}', "field 'n': it breaks the rule 'type'"),
        (SCHEMA, "{}", "it breaks the rule 'required'"),
    ],
)
def test_a_wrong_answer_names_the_field_and_quotes_nothing(
    output: Any, text: str, problem: str
) -> None:
    form = form_of(output)
    assert form is not None
    with pytest.raises(WrongAnswer) as caught:
        form.read(text)
    assert problem in caught.value.problem
    assert "secret" not in caught.value.problem
    assert "missing" not in caught.value.problem


def test_the_model_is_told_what_the_validator_said() -> None:
    form = form_of(Annotated[int, AfterValidator(_even)])
    assert form is not None
    with pytest.raises(WrongAnswer) as caught:
        form.read('{"answer": 3}')
    assert "3 is the secret" in caught.value.details


@pytest.mark.parametrize("output", [3, Mood.BAD, len, lambda: None, object(), {"type": "nothing"}])
def test_what_is_no_type_is_a_usage_error(output: Any) -> None:
    with pytest.raises(UsageError, match="output"):
        form_of(output)


def test_a_form_is_made_once_for_each_type() -> None:
    assert form_of(City) is form_of(City)
    assert form_of(Literal[1]) is not form_of(Literal[True])
    assert form_of(None) is None


@pytest.mark.parametrize(
    ("output", "text", "value"),
    [
        (City, '{"name": "Ro', {"name": "Ro"}),
        (City, '```json\n{"name": "Rome", "peo', {"name": "Rome"}),
        (City, '{"name": "Rome", "people": 1}\n```', {"name": "Rome", "people": 1}),
        (City, "Sure", None),
        (list[int], '{"answer": [1, 2', [1, 2]),
        (list[int], '{"ans', None),
    ],
)
def test_an_unfinished_answer_has_the_value_so_far(output: Any, text: str, value: Any) -> None:
    form = form_of(output)
    assert form is not None
    assert form.partial(text) == value
