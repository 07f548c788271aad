"""Questions of a server to the person, which arrive while one of its tools runs.

A question comes on the loop of the connection, and the person is asked on the program's own loop,
where the call waits. Invariant: a question reaches the person of the call that it belongs to, and
no other. Without a person, and if calls of several people run, it is declined. What a person does
not enter is never made up.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import anyio

from vanta import ToolContext
from vanta.text import printable
from vanta_mcp.loop_thread import LoopThread, thread_safe_call
from vanta_mcp.settings import Server

MOST_FIELDS = 20
MOST_TRIES = 3
DEFAULT = "default"
"""The answer that takes what the server proposes for a field."""

_MOST_TEXT = 2000
_YES, _NO = "yes", "no"


class PersonLine:
    """The way from a server's question to the person of one call, and back.

    :param context: the call.
    :param thread: the thread on whose loop questions arrive.
    """

    def __init__(self, context: ToolContext, thread: LoopThread) -> None:
        self.owner = (context.user, context.session)
        self._ask = context.ask
        self._thread = thread
        self._call_back = thread_safe_call()
        self._put, self._questions = anyio.create_memory_object_stream[_Pending](16)

    async def serve(self) -> None:
        """Ask the person what arrives, on the program's loop, until cancelled."""
        async for pending in self._questions:
            answer = await self._ask(pending.text, pending.choices) if self._ask else None
            self._thread.call_soon(functools.partial(pending.settle, answer))

    async def ask(self, text: str, choices: Sequence[str] = ()) -> str | None:
        """Put a question, on the connection's loop; return the answer, None for none."""
        if self._ask is None:
            return None
        pending = _Pending(text, choices)
        self._call_back(lambda: self._arrive(pending))
        await pending.answered.wait()
        return pending.answer

    def close(self) -> None:
        """End the way: what arrives later has no answer."""
        self._put.close()
        self._questions.close()

    def _arrive(self, pending: _Pending) -> None:
        try:
            self._put.send_nowait(pending)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.WouldBlock):
            self._thread.call_soon(functools.partial(pending.settle, None))


class _Pending:
    """A question on its way."""

    def __init__(self, text: str, choices: Sequence[str]) -> None:
        self.text = text
        self.choices = tuple(choices)
        self.answer: str | None = None
        self.answered = anyio.Event()

    def settle(self, answer: str | None) -> None:
        self.answer = answer
        self.answered.set()


class Elicitation:
    """Answers the questions of one server.

    :param server: the server.
    :param thread: the thread on whose loop they arrive.
    """

    def __init__(self, server: Server, thread: LoopThread) -> None:
        self._server = server
        self._thread = thread
        self._lines: list[PersonLine] = []
        self._own: ContextVar[PersonLine | None] = ContextVar("person_line", default=None)

    @contextlib.asynccontextmanager
    async def asking(self, context: ToolContext) -> AsyncIterator[PersonLine]:
        """Hold the person of a call ready while it runs, on the program's loop."""
        line = PersonLine(context, self._thread)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.serve)
            try:
                yield line
            finally:
                tasks.cancel_scope.cancel()
                line.close()

    @contextlib.contextmanager
    def during(self, line: PersonLine) -> Iterator[None]:
        """Mark what happens in this task, on the connection's loop, as part of a call."""
        token = self._own.set(line)
        self._lines.append(line)
        try:
            yield
        finally:
            self._lines.remove(line)
            self._own.reset(token)

    async def __call__(self, _context: Any, params: Any) -> Any:
        """Answer one question. See `mcp.client.session.ElicitationFnT`."""
        from mcp_types import ElicitResult

        line = self._line()
        if line is None:
            return ElicitResult(action="decline")
        begins = f"The server {self._server.name!r} asks: {_shown(params.message)}"
        if params.mode == "url":
            return ElicitResult(action=await _opened(line, begins, params.url))
        content = await _filled(line, begins, params.requested_schema)
        if content is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=content)

    def _line(self) -> PersonLine | None:
        """Return the way to the person of the call that a question belongs to."""
        own = self._own.get()
        if own is not None:
            return own
        # The older protocol does not say for which call a server asks.
        owners = {line.owner for line in self._lines}
        return self._lines[-1] if len(owners) == 1 else None


async def _opened(line: PersonLine, begins: str, url: str) -> Any:
    """Ask the person to open a page; it is never opened here."""
    if urlsplit(url).scheme not in {"http", "https"}:
        return "decline"
    question = f"{begins}\nOpen this page yourself if you trust it: {_shown(url)}\nIs it done?"
    return "accept" if await line.ask(question, (_YES, _NO)) == _YES else "decline"


async def _filled(
    line: PersonLine, begins: str, schema: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Ask for each field of a form; None if the person does not answer."""
    fields = schema.get("properties") or {}
    if not isinstance(fields, dict) or len(fields) > MOST_FIELDS:
        return None
    if not fields:
        return {} if await line.ask(begins, (_YES, _NO)) == _YES else None
    content: dict[str, Any] = {}
    for name, field in fields.items():
        read, choices = _reader(field if isinstance(field, dict) else {})
        title = _shown(str(field.get("title") or name))
        about = _shown(str(field.get("description") or ""))
        default = field.get("default")
        question = f"{begins}\n{title}{f' ({about})' if about else ''}"
        if default is not None:
            question += f" [{DEFAULT}: {_shown(str(default))}]"
            read = _or_default(read, default)
        value = await _asked(line, question, choices, read)
        if value is not None:
            content[name] = value
        elif name in (schema.get("required") or ()):
            return None
    return content


async def _asked(
    line: PersonLine, question: str, choices: Sequence[str], read: Callable[[str], Any]
) -> Any:
    """Return the value of one field, None if the person gives none that fits."""
    for _attempt in range(MOST_TRIES):
        answer = await line.ask(question, choices)
        if answer is None or not answer.strip():
            return None
        with contextlib.suppress(ValueError, KeyError):
            return read(answer.strip())
    return None


def _or_default(read: Callable[[str], Any], default: Any) -> Callable[[str], Any]:
    return lambda text: default if text.lower() == DEFAULT else read(text)


def _reader(field: Mapping[str, Any]) -> tuple[Callable[[str], Any], tuple[str, ...]]:
    """Return how an answer to a field is read, and the answers that it proposes."""
    kind = field.get("type")
    if kind == "boolean":
        return {_YES: True, "true": True, _NO: False, "false": False}.__getitem__, (_YES, _NO)
    if kind == "integer":
        return int, ()
    if kind == "number":
        return float, ()
    if kind == "array":
        known = _options(field.get("items") or {})
        return lambda text: [known[part.strip()] for part in text.split(",")], tuple(known)
    known = _options(field)
    return (known.__getitem__ if known else str), tuple(known)


def _options(field: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a field with fixed choices, by what the person is shown."""
    values = field.get("enum") or ()
    plain = zip(field.get("enumNames") or values, values, strict=False)
    options = {_shown(str(name)): value for name, value in plain}
    for item in field.get("oneOf") or field.get("anyOf") or ():
        if isinstance(item, dict):
            options[_shown(str(item.get("title") or item.get("const")))] = item.get("const")
    return options


def _shown(text: str) -> str:
    """Return a stranger's text as a person may be shown it."""
    return printable(text)[:_MOST_TEXT]
