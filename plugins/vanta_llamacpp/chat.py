"""The model's own chat template: from messages to the text of a prompt.

A template comes with the file, so it is code of a stranger: it runs in jinja2's immutable sandbox
with a limit on time, on the prompt's length and on what may multiply a text, and sees nothing but
the messages. The environment is the one that Hugging Face renders chat
templates in (transformers, `utils/chat_template_utils.py`), so that a template means the same here.
Invariant: nothing but `TemplateFault` comes out of a template that is broken or refuses.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vanta.engine import Tool
from vanta.messages import Message

LONGEST = 256 * 1024
LONGEST_S = 2.0
LONGEST_PROMPT = 16 * 1024 * 1024
_PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})
_PADDING_FILTERS = ("center", "format", "indent")


class TemplateFault(Exception):  # noqa: N818 - the word that the messages use
    """The template is broken, or refuses these messages."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses what could make gigabytes out of a line."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """A text times a billion would have a billion letters, and so would one doubled often."""
        if operator == "+":
            if isinstance(left, str) and isinstance(right, str) and len(left) > LONGEST_PROMPT:
                raise TemplateFault(f"it makes a text of more than {LONGEST_PROMPT} characters")
            return left + right
        if operator == "**" or not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TemplateFault(f"it computes {operator!r} with something else than numbers")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, _value: Any) -> None:
        """No special treatment: `is_safe_attribute` refuses it."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As jinja2 says, and nothing that pads a text to a length of the template's choice."""
        padding = isinstance(obj, str) and attr in _PADDING
        return not padding and super().is_safe_attribute(obj, attr, value)


class ChatTemplate:
    """One compiled template. `bos` and `eos` are the texts of the model's start and end token."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > LONGEST:
            raise TemplateFault(f"it has {len(source)} characters; {LONGEST} are allowed")
        self._template = _compile(source)
        self.knows_tools = "tools" in source
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        clean: Callable[[str], str] = str,
        answer: bool = True,
    ) -> str:
        """The prompt. clean: applied to all that people and models wrote, before the template
        sees it. answer: end with the opening of the assistant's message."""
        try:
            with time_limit(LONGEST_S):
                return _bounded(
                    self._template.generate(
                        messages=[_as_dict(message, clean) for message in messages],
                        add_generation_prompt=answer,
                        tools=[_tool(tool, clean) for tool in tools] or None,
                        documents=None,
                        **self._tokens,
                    )
                )
        except Exception as error:  # a template may raise whatever Python can
            raise TemplateFault(str(error) or repr(error)) from error


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TemplateFault from whatever Python line this thread is at once the time is over."""
    until, before = time.monotonic() + seconds, sys.gettrace()

    def watch(_frame: FrameType, _event: str, _argument: object) -> Any:
        if time.monotonic() > until:
            raise TemplateFault(f"it takes longer than {seconds:g} s")
        return watch

    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def _compile(source: str) -> Template:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    for name in _PADDING_FILTERS:
        environment.filters.pop(name)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    try:
        return environment.from_string(source)
    except (TemplateError, RecursionError) as error:
        raise TemplateFault(f"it does not compile: {error}") from error


def _as_dict(message: Message, clean: Callable[[str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": clean(message.content)}
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": clean(call.name), "arguments": clean(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    return found


def _to_json(value: Any, ensure_ascii: bool = False, **how: Any) -> str:
    """Plain JSON: jinja2's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **how)


def _tool(tool: Tool, clean: Callable[[str], str]) -> dict[str, Any]:
    """As OpenAI's interface describes a tool, which templates follow."""
    function = {"name": tool.name, "description": clean(tool.description)}
    return {"type": "function", "function": {**function, "parameters": tool.parameters}}


def _bounded(parts: Iterable[str]) -> str:
    kept: list[str] = []
    length = 0
    for part in parts:
        length += len(part)
        if length > LONGEST_PROMPT:
            raise TemplateFault(f"its prompt has more than {LONGEST_PROMPT} characters")
        kept.append(part)
    return "".join(kept)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)
