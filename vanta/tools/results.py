"""The results of calls: made from what a tool returns, written as data, kept to be read in pages.

Invariants: every value that a tool can return becomes a `ToolResult` with text that is Unicode and
bounded, and data that is JSON. In the written form nothing that a tool returned can end the block
that it stands in, or read as a role, a control token or a call.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from vanta.errors import ToolError, UsageError, did_you_mean
from vanta.messages import Image, Message
from vanta.text import as_data as as_data  # noqa: PLC0414 - the front of the room has it
from vanta.text import well_formed
from vanta.tool_contract import Tool, ToolContext, ToolResult, Toolset

MAX_RESULT_CHARACTERS = 4_000_000
"""Characters of one result that are kept. The rest is dropped, with a note."""

READ_RESULT = "read_result"
"""Name of the tool that reads the rest of a long result."""

_MAX_VALUES = 200_000
_MAX_DEPTH = 64
_KEPT_CHARACTERS = 16_000_000
_NOTE_TOKENS = 48
_CHARACTERS_PER_TOKEN = 16


def result_of(value: object) -> ToolResult:
    """Return what a tool returned as a result.

    :param value: a `ToolResult`, text, bytes of text, None, a `vanta.Image` or a list with some, a
        pydantic model, a dataclass, or data that is like JSON.
    :returns: a result with bounded, well-formed text. NaN and the infinities become null.
    :raises ToolError: if the value has no form as text or JSON, or is too large.
    """
    if isinstance(value, ToolResult):
        return _checked(value)
    if value is None:
        return ToolResult("The call returned nothing.")
    if isinstance(value, bytes | bytearray | memoryview):
        value = _decoded(bytes(value[: MAX_RESULT_CHARACTERS * 4]))
    if isinstance(value, str):
        return ToolResult(_bounded(str(value)))
    if images := _images_in(value):
        return _with_images(value, images)
    plain = _Plain()
    data = plain.of(value)
    if isinstance(data, str):
        return ToolResult(_bounded(data), private=plain.is_private)
    text = _bounded(json.dumps(data, ensure_ascii=False))
    return ToolResult(text, data, private=plain.is_private)


def _images_in(value: object) -> tuple[Image, ...]:
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(item for item in values if isinstance(item, Image))


def _with_images(value: object, images: tuple[Image, ...]) -> ToolResult:
    """Return the result of a list with images: the rest of it is what a list without them gives."""
    values = value if isinstance(value, list | tuple) else ()
    rest = [item for item in values if not isinstance(item, Image)]
    texts = [item for item in rest if isinstance(item, str)]
    if len(texts) == len(rest):
        return _checked(ToolResult("\n".join(texts), images=images))
    return _checked(dataclasses.replace(result_of(rest), images=images))


def write_result(
    result: ToolResult, tokens_limit: int, count: Callable[[str], int], result_id: str = ""
) -> str:
    """Write a result as the model reads it: a block of data, cut at a limit.

    :param result: the result.
    :param tokens_limit: tokens that its text may have; the delimiters and the note come on top.
    :param count: returns the tokens of a text.
    :param result_id: the id under which `read_result` finds it whole; "" if it cannot be read on.
    """
    text = as_data(result.text)
    shown, whole = _beginning(text, tokens_limit, count)
    note = ""
    if not whole:
        note = f"\n[cut: {len(shown)} of {len(text)} characters are shown."
        if result_id:
            call = json.dumps({"result": result_id, "page": 2})
            note += f" Call {READ_RESULT} with {call} for more."
        note += "]"
    opening = '<result error="true">' if result.is_error else "<result>"
    return f"{opening}\n{shown}\n</result>{note}"


class ResultPages(Toolset):
    """The whole results of one turn, with the tool `read_result` that reads them page by page.

    :param tokens_limit: tokens of one page.
    :param count: returns the tokens of a text.
    """

    name = "results"

    def __init__(self, tokens_limit: int, count: Callable[[str], int]) -> None:
        self._limit = max(1, tokens_limit - _NOTE_TOKENS)
        self._count = count
        self._whole: dict[str, ToolResult] = {}

    def show(self, result_id: str, result: ToolResult, tokens_limit: int | None = None) -> str:
        """Write a result, and keep it if it is longer than the limit.

        :param result_id: a short id, unique in the turn.
        :param result: the result.
        :param tokens_limit: the tool's own limit; None for that of the pages.
        """
        limit = self._limit if tokens_limit is None else min(tokens_limit, self._limit)
        text = as_data(result.text)
        if not _beginning(text, limit, self._count)[1]:
            self._keep(result_id, dataclasses.replace(result, text=text, data=None, images=()))
        return write_result(result, limit, self._count, result_id)

    def state(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the kept results as JSON-ready data, by id."""
        return {name: dataclasses.asdict(result) for name, result in self._whole.items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the results that another process kept.

        :param state: what `state` returned.
        """
        for name, fields in state.items():
            self._keep(name, ToolResult(**fields))

    @property
    def is_empty(self) -> bool:
        """Whether no result is kept, so that the tool need not be offered."""
        return not self._whole

    async def tools(self) -> Sequence[Tool]:
        """Return the one tool."""
        return [_READ]

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Return one page of a kept result, as private and as trusted as the result itself.

        :raises ToolError: if the result or the page does not exist.
        """
        result_id, page = arguments["result"], arguments.get("page", 1)
        if result_id not in self._whole:
            raise ToolError(
                f"no result is kept as {result_id!r}. {did_you_mean(result_id, self._whole)}"
            )
        result = self._whole[result_id]
        rest = result.text
        for _ in range(page - 1):
            rest = rest[len(_beginning(rest, self._limit, self._count)[0]) :]
            if not rest:
                raise ToolError(f"the result {result_id!r} has no page {page}: it ends before")
        shown, whole = _beginning(rest, self._limit, self._count)
        end = "the end" if whole else f"continues on page {page + 1}"
        return dataclasses.replace(result, text=f"{shown}\n[page {page}, {end}]")

    def _keep(self, result_id: str, result: ToolResult) -> None:
        """Keep a result; the oldest ones make room."""
        self._whole[result_id] = result
        while sum(len(kept.text) for kept in self._whole.values()) > _KEPT_CHARACTERS:
            del self._whole[next(iter(self._whole))]


_READ = Tool(
    READ_RESULT,
    "Read the rest of a result that was cut.",
    {
        "type": "object",
        "properties": {
            "result": {"type": "string", "description": "The id of the result."},
            "page": {"type": "integer", "minimum": 1, "maximum": 10_000},
        },
        "required": ["result"],
        "additionalProperties": False,
    },
    effect="read",
    private=True,
)


def _beginning(text: str, limit: int, count: Callable[[str], int]) -> tuple[str, bool]:
    """Return the longest beginning of a text within a limit, and whether it is the whole."""
    shown = text[: limit * _CHARACTERS_PER_TOKEN]
    while shown and (tokens := count(shown)) > limit:
        shown = shown[: min(len(shown) - 1, len(shown) * limit * 97 // (tokens * 100))]
    if len(shown) == len(text):
        return text, True
    shown = shown or text[:1]
    line = shown.rfind("\n") + 1
    return shown[:line] if line > len(shown) // 2 else shown, False


def _checked(result: ToolResult) -> ToolResult:
    """Return a result with fields of the right types, whatever a tool put into them."""
    plain = _Plain()
    data = None if result.data is None else plain.of(result.data)
    given: object = result.text
    inner = ToolResult(given) if isinstance(given, str) else result_of(given)
    images = _checked_images(result.images)
    return ToolResult(
        _bounded(inner.text) or ("The call returned an image." if images else ""),
        data,
        is_error=bool(result.is_error),
        source=well_formed(str(result.source))[:2000],
        private=bool(result.private) or plain.is_private or inner.private,
        is_unknown=bool(result.is_unknown),
        images=images,
    )


def _checked_images(images: object) -> tuple[Image, ...]:
    try:
        return Message("tool", "", images=tuple(cast("Iterable[Image]", images))).images
    except (TypeError, UsageError) as error:
        raise ToolError(f"it returned images that cannot be shown: {error}") from None


def _bounded(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARACTERS:
        return well_formed(text)
    kept = well_formed(text[:MAX_RESULT_CHARACTERS])
    return f"{kept}\n[the rest is dropped: the result has {len(text)} characters]"


def _decoded(value: bytes) -> str:
    try:
        return _bounded(value.decode("utf-8"))
    except UnicodeDecodeError:
        raise ToolError(f"it returned {len(value)} bytes that are not text") from None


class _Plain:
    """Turns a value into JSON-ready data; bounded in size and depth, also for cyclic values.

    :ivar is_private: whether a private result was among it.
    """

    def __init__(self) -> None:
        self.is_private = False
        self._left = _MAX_VALUES
        self._characters = MAX_RESULT_CHARACTERS
        self._path: set[int] = set()

    def of(self, value: Any) -> Any:
        self._spend(1, 0)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            self._spend(0, len(value))
            return well_formed(str(value))
        if isinstance(value, int):
            return self._number(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, bytes | bytearray):
            return _decoded(bytes(value))
        return self._inside(value)

    def _inside(self, value: Any) -> Any:
        if id(value) in self._path:
            raise ToolError("it returned data that contains itself")
        if len(self._path) >= _MAX_DEPTH:
            raise ToolError(f"it returned data that is nested more than {_MAX_DEPTH} deep")
        self._path.add(id(value))
        self.is_private = self.is_private or (isinstance(value, ToolResult) and bool(value.private))
        try:
            if isinstance(value, Mapping):
                return {self._key(key): self.of(item) for key, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self.of(item) for item in value]
            return self.of(_fields(value))
        finally:
            self._path.discard(id(value))

    def _key(self, key: object) -> str:
        plain = self.of(key)
        return plain if isinstance(plain, str) else json.dumps(plain)

    def _number(self, value: int) -> int | str:
        if value.bit_length() > 4096:
            raise ToolError("it returned a number of more than 1,200 digits")
        return value

    def _spend(self, values: int, characters: int) -> None:
        self._left -= values
        self._characters -= characters
        if self._left < 0 or self._characters < 0:
            raise ToolError(
                f"it returned more than {_MAX_VALUES} values or {MAX_RESULT_CHARACTERS} "
                "characters of data: ask for less of it"
            )


def _fields(value: Any) -> Any:
    """Return an object as simpler data, one level down."""
    from pydantic import BaseModel
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if dataclasses.is_dataclass(value) and not isinstance(value, type | BaseModel):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    try:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", by_alias=True)
        if not isinstance(value, Iterator):
            return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        pass
    raise ToolError(f"it returned {type(value).__name__!r}, which has no form as text or JSON")
