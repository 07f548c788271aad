"""The types of answers: a JSON Schema for the model, and the value of what it wrote.

A type is whatever pydantic can validate: a model, a dataclass, a TypedDict, an enum, `Literal`,
unions and lists of them, a plain `int`; or a JSON Schema, a mapping, whose values stay JSON. What
is not an object of known fields is asked for as the field `answer` of one, since APIs accept
nothing else.

Invariant: a value is read by pydantic's strict rules for JSON. A text that looks like a number is
not a number, and no field is completed, so a value has nothing that the model did not write.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema, from_json

from vanta.engine import Sampling
from vanta.errors import ToolError, UsageError
from vanta.files import parse_json
from vanta.normalising import is_cut_off, json_start, json_texts
from vanta.scheduling.typed_answers import WrongAnswer
from vanta.tools import schema_mistakes, schema_problem

ANSWER = "answer"
"""The field of an answer that is not an object itself."""

MOST_PROBLEMS = 5
"""Problems that an error names."""

_KNOWN_ERRORS = frozenset(get_args(core_schema.ErrorType)) - {
    "value_error",
    "assertion_error",
    "union_tag_invalid",
    "custom_error",
}
"""Kinds of pydantic's errors whose messages quote nothing of the answer."""

_TYPES = frozenset({"bool", "date", "datetime", "dict", "float", "int", "list", "none", "str"})
"""Names by which pydantic distinguishes the branches of a union."""


class _AnswerSchema(GenerateJsonSchema):
    """Writes schemas whose values are valid: a decimal is a number, and not any text."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Return the schema of a decimal number."""
        written: JsonSchemaValue = {"type": "number"}
        self.update_with_validations(written, schema, self.ValidationsMapping.numeric)
        return written


class OutputForm:
    """The type of an answer; implements `vanta.scheduling.typed_answers.AnswerForm`.

    :param output: a type that pydantic can validate, or a JSON Schema.
    :raises UsageError: if it has no JSON Schema.
    """

    def __init__(self, output: Any) -> None:
        if isinstance(output, Mapping):
            self._reader: _Reader = _SchemaReader(output)
        else:
            self._reader = _TypeReader(output)

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the answer's text, an object."""
        return self._reader.schema

    def read(self, text: str) -> Any:
        """Return the value of an answer.

        :param text: the whole text of the answer.
        :raises WrongAnswer: if it is not of the type, or if several values in it are.
        """
        values, problems = [], []
        for candidate in json_texts(text):
            try:
                value = self._reader.read(candidate)
            except WrongAnswer as error:
                problems.append(error)
            else:
                if value not in values:
                    values.append(value)
        if len(values) == 1:
            return values[0]
        if values:
            raise WrongAnswer(f"it has {len(values)} different objects that would fit")
        if problems:
            raise problems[0]
        raise WrongAnswer("its JSON is not complete" if is_cut_off(text) else "it has no JSON")

    def partial(self, text: str) -> Any:
        """Return what an unfinished answer has of the value so far, as JSON; None for nothing.

        :param text: the beginning of the answer.
        """
        begun = text[json_start(text) :]
        if not begun:
            return None
        try:
            value = from_json(begun, allow_partial="trailing-strings")
        except ValueError:  # text follows the JSON, or it is not JSON
            value = next((parse_json(found) for found in json_texts(text)), None)
        if self._reader.wrapped and isinstance(value, dict) and set(value) <= {ANSWER}:
            return value.get(ANSWER)
        return value


class _Reader:
    """Reads one JSON text. `wrapped` is true if the value is the field `answer` of an object."""

    schema: Mapping[str, Any]
    wrapped: bool

    def read(self, text: str) -> Any:
        raise NotImplementedError


class _TypeReader(_Reader):
    """Reads values of a type."""

    def __init__(self, output: Any) -> None:
        try:
            if inspect.isroutine(output):
                raise TypeError("it is a function.")
            bare: TypeAdapter[Any] = TypeAdapter(output)
            schema = without_titles(bare.json_schema(schema_generator=_AnswerSchema))
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UsageError(
                f"'output' is {output!r}, which has no JSON Schema: {reason} Pass a pydantic "
                "model, a dataclass, a TypedDict, a Literal, or a list or union of them."
            ) from error
        self.wrapped = not _is_object(schema)
        self._bare = bare
        self._adapter = bare
        if self.wrapped:
            config = ConfigDict(extra="forbid")
            model = create_model("Answer", __config__=config, answer=(output, ...))
            self._adapter = TypeAdapter(model)
            schema = self._adapter.json_schema(schema_generator=_AnswerSchema)
            schema = without_titles(schema)
        self.schema = schema
        self._names = frozenset(_names_in(schema)) | _TYPES

    def read(self, text: str) -> Any:
        """Return the value; one that lacks the object around it counts, too."""
        try:
            value = self._validated(self._adapter, text)
        except WrongAnswer:
            if not self.wrapped or _has_answer(text):
                raise
            return self._validated(self._bare, text)
        return getattr(value, ANSWER) if self.wrapped else value

    def _validated(self, adapter: TypeAdapter[Any], text: str) -> Any:
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            raise self._wrong(details) from None
        except Exception as error:  # noqa: BLE001 - a validator of the caller may raise anything
            kind = type(error).__name__
            raise WrongAnswer(f"its validator raised {kind}", f"{kind}: {error}") from None

    def _wrong(self, details: Sequence[Any]) -> WrongAnswer:
        details = details[:MOST_PROBLEMS]
        return WrongAnswer(
            "; ".join(self._in_words(item, quotes=False) for item in details),
            "; ".join(self._in_words(item, quotes=True) for item in details),
        )

    def _in_words(self, item: Mapping[str, Any], *, quotes: bool) -> str:
        names = [
            step if quotes or isinstance(step, int) or step in self._names else "*"
            for step in item["loc"]
        ]
        words = item["msg"]
        if not quotes and item["type"] not in _KNOWN_ERRORS:
            words = f"it breaks the rule {item['type']!r}"
        return _at(names, words)


class _SchemaReader(_Reader):
    """Reads JSON that is valid under a schema."""

    def __init__(self, output: Mapping[str, Any]) -> None:
        schema = dict(output)
        self.wrapped = schema.get("type") != "object"
        if self.wrapped:
            schema = _around(schema)
        if problem := schema_problem(schema):
            words = problem.replace("the schema of the tool", "the schema of the output")
            raise UsageError(f"output: {words}")
        self.schema = schema
        self._names = frozenset(_names_in(schema))

    def read(self, text: str) -> Any:
        """Return the JSON value; one that lacks the object around it counts, too."""
        value = parse_json(text)
        if self.wrapped and not _has_answer(text):
            value = {ANSWER: value}
        try:
            mistakes = schema_mistakes(value, self.schema)[:MOST_PROBLEMS]
        except ToolError as error:
            raise WrongAnswer("the schema cannot be applied to it", str(error)) from None
        if mistakes:
            safe = [
                _at(
                    [
                        step if step in self._names or isinstance(step, int) else "*"
                        for step in path
                    ],
                    f"it breaks the rule {rule!r}",
                )
                for path, rule, _ in mistakes
            ]
            full = [_at(path, words) for path, _, words in mistakes]
            raise WrongAnswer("; ".join(safe), "; ".join(full))
        return value[ANSWER] if self.wrapped else value


def form_of(output: Any) -> OutputForm | None:
    """Return the form of a type, made once for each; None for None.

    :param output: as for `vanta.Session.ask`.
    :raises UsageError: if it has no JSON Schema.
    """
    if output is None:
        return None
    try:
        hash(output)
    except TypeError:
        return OutputForm(output)
    return _cached(output)


def check_sampling_beside(sampling: Sampling | None) -> None:
    """Check that a turn with an `output` has no other form for its answer.

    :param sampling: the sampling of the call.
    :raises UsageError: if it has a grammar or a schema.
    """
    for name in ("grammar", "json_schema"):
        if sampling is not None and getattr(sampling, name) is not None:
            raise UsageError(f"'output' and 'sampling.{name}' are both set. Remove one of them.")


@functools.lru_cache(maxsize=256, typed=True)
def _cached(output: Any) -> OutputForm:
    return OutputForm(output)


def without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic adds: they cost tokens and say nothing.

    :param schema: a JSON Schema.
    """
    if isinstance(schema, list):
        return [without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"properties", "$defs"} and isinstance(value, dict):
            kept[key] = {name: without_titles(below) for name, below in value.items()}
        elif key in {"default", "const", "enum", "examples"}:
            kept[key] = value
        elif key != "title":
            kept[key] = without_titles(value)
    return kept


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"


def _around(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with one field of the given schema."""
    root: dict[str, Any] = {
        "type": "object",
        "properties": {ANSWER: schema},
        "required": [ANSWER],
        "additionalProperties": False,
    }
    for group in ("$defs", "definitions"):
        if group in schema:
            root[group] = schema.pop(group)
    return root


def _has_answer(text: str) -> bool:
    """Whether a JSON text is an object of nothing but the field `answer`."""
    value = parse_json(text)
    return isinstance(value, dict) and set(value) == {ANSWER}


def _names_in(schema: Any) -> Iterator[str]:
    """Yield the names of all fields and definitions of a schema."""
    if isinstance(schema, Mapping):
        for group in ("properties", "$defs", "definitions"):
            below = schema.get(group)
            if isinstance(below, Mapping):
                yield from map(str, below)
        for inner in schema.values():
            yield from _names_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _names_in(inner)


def _at(path: Sequence[Any], words: str) -> str:
    """Return a problem with its place, as `items[0].name`."""
    place = ""
    for step in path:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else str(step)
    return f"field {place!r}: {words}" if place else words
