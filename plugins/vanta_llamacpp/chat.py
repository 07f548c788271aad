"""The model's own chat template: from messages to the text of a prompt.

A template comes with the file, so it is code of a stranger: it runs in jinja2's immutable sandbox
and sees nothing but the messages. The environment is the one that Hugging Face renders chat
templates in (transformers, `utils/chat_template_utils.py`), so that a template means the same here.
Invariant: nothing but `TemplateFault` comes out of a template that is broken or refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vanta.messages import Message

LONGEST = 256 * 1024


class TemplateFault(Exception):  # noqa: N818 - the word that the messages use
    """The template is broken, or refuses these messages."""


class ChatTemplate:
    """One compiled template. `bos` and `eos` are the texts of the model's start and end token."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > LONGEST:
            raise TemplateFault(f"it has {len(source)} characters; {LONGEST} are allowed")
        self._template = _compile(source)
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(
        self, messages: Sequence[Message], *, clean: Callable[[str], str] = str, answer: bool = True
    ) -> str:
        """The prompt. clean: applied to all that people and models wrote, before the template
        sees it. answer: end with the opening of the assistant's message."""
        try:
            return self._template.render(
                messages=[_as_dict(message, clean) for message in messages],
                add_generation_prompt=answer,
                tools=None,
                documents=None,
                **self._tokens,
            )
        except Exception as error:  # a template may raise whatever Python can
            raise TemplateFault(str(error) or repr(error)) from error


def _compile(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
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


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)
