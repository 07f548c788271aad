"""The model's own chat template: from messages to the text of a prompt.

A template comes with the model's file, so it is code of a stranger: it runs in vanta's sandbox and
sees nothing but the messages. The environment is otherwise the one in which Hugging Face renders
chat templates (transformers, `utils/chat_template_utils.py`), so that a template means the same
here. A file without a template takes the registry's or its family's; a family is only derived from
facts of the file, and an unknown model is refused rather than prompted in a wrong format.
Invariant: only `ChatTemplateError` leaves a template that is broken or refuses its messages.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.utils import Joiner

from vanta import Message, ModelFile, Tool, ToolCall
from vanta.files import read_text
from vanta.normalising import RoleRules, probe_rules
from vanta.prompts import (
    AllowList,
    MeteredEnvironment,
    RenderLimits,
    SandboxError,
    metering,
    render,
    templates_dir,
)
from vanta_llamacpp.model import ModelFacts, Vocabulary

FAMILIES = ("alpaca", "chatml", "gemma", "llama2", "llama3", "mistral", "phi", "vicuna")
_BY_TOKEN = {
    "<|im_start|>": "chatml",
    "<|start_header_id|>": "llama3",
    "<start_of_turn>": "gemma",
    "<|end|>": "phi",
}
_BY_NAME = {
    "alpaca": "alpaca",
    "vicuna": "vicuna",
    "mixtral": "mistral",
    "mistral": "mistral",
    "llama-2": "llama2",
    "llama 2": "llama2",
    "llama2": "llama2",
}
LONGEST = 256 * 1024
"""Characters of a template."""
LONGEST_REASON = 500
_LONGEST_DATE = 500
LIMITS = RenderLimits(
    characters=16 << 20,
    value_bytes=16 << 20,
    total_bytes=96 << 20,
    steps=10_000_000,
    seconds=2.0,
)
_FILTERS = """
    abs capitalize count d default dictsort first float indent int items join last length list lower
    map max min reject rejectattr replace reverse round safe select selectattr sort string title
    tojson trim unique upper
"""
_TEXT_METHODS = """
    capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower
    isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace
    rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title upper
"""


class ChatTemplateError(Exception):
    """The template is broken, exceeds a limit, or refuses these messages."""


class ChatTemplate:
    """One compiled template.

    :param source: the template's text.
    :param bos: text of the model's start token.
    :param eos: text of the model's end token.
    :raises ChatTemplateError: if it does not compile.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > LONGEST:
            raise ChatTemplateError(f"it has {len(source)} characters; at most {LONGEST} may be")
        self._environment = MeteredEnvironment(ALLOWED)
        with _errors("it does not compile: "), metering(LIMITS):
            self._template = self._environment.from_string(source)
        self.source = source
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
        """Return the text of the prompt.

        :param messages: the conversation, oldest first.
        :param tools: tools that the model may call.
        :param clean: applied to all text of people, models and tools before the template sees it.
        :param answer: end with the opening of the assistant's message.
        :raises ChatTemplateError: if the template fails or refuses the messages.
        """
        with _errors():
            values = {
                "messages": [_as_dict(message, clean) for message in messages],
                "add_generation_prompt": answer,
                "tools": [_tool(tool, clean) for tool in tools] or None,
                "documents": None,
                **self._tokens,
            }
            return render(self._environment, lambda: self._template, values, LIMITS)

    @functools.cached_property
    def rules(self) -> RoleRules:
        """What the template accepts, by rendering small conversations."""
        return probe_rules(self._accepts)

    def _accepts(self, messages: Sequence[Message]) -> bool:
        """Return whether the template renders a conversation with all its words."""
        try:
            text = self.render(messages)
        except ChatTemplateError:
            return False
        return all(text.count(message.content) >= 1 for message in messages)


class Arguments(dict[str, Any]):
    """Arguments of a call: a mapping for templates that write JSON, its text for the others."""

    def __init__(self, arguments: Mapping[str, Any], text: str) -> None:
        super().__init__(arguments)
        self._text = text

    def __str__(self) -> str:
        """Return the text that the model wrote."""
        return self._text

    def __add__(self, other: object) -> str:
        return self._text + other if isinstance(other, str) else NotImplemented

    def __radd__(self, other: object) -> str:
        return other + self._text if isinstance(other, str) else NotImplemented


@contextmanager
def _errors(prefix: str = "") -> Iterator[None]:
    """Turn whatever a template raises, which can be anything, into ChatTemplateError."""
    try:
        yield
    except SandboxError as error:
        raise ChatTemplateError(f"{prefix}it {error}") from error
    except Exception as error:
        reason = str(error) or repr(error)
        raise ChatTemplateError(prefix + reason[:LONGEST_REASON]) from error


def _now(pattern: str) -> str:
    if len(pattern) > _LONGEST_DATE:
        raise SandboxError("formats the date with a very long pattern")
    return datetime.now().astimezone().strftime(pattern)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


ALLOWED = AllowList(
    filters=frozenset(_FILTERS.split()),
    methods={
        str: frozenset(_TEXT_METHODS.split()),
        dict: frozenset(("copy", "get", "items", "keys", "values")),
        list: frozenset(("copy", "count", "index")),
        tuple: frozenset(("count", "index")),
    },
    functions={
        "dict": dict,
        "joiner": Joiner,
        "raise_exception": _refuse,
        "strftime_now": _now,
    },
    longest_range=100_000,
    extensions=(loopcontrols,),
    strict=False,
)


def _as_dict(message: Message, clean: Callable[[str], str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": clean(message.content)}
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": clean(call.id),
                "type": "function",
                "function": {"name": clean(call.name), "arguments": _arguments(call, clean)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = clean(message.tool_call_id)
    return fields


def _arguments(call: ToolCall, clean: Callable[[str], str]) -> Arguments | str:
    """Return a mapping, as Hugging Face's templates expect, or the text if it is not an object."""
    text = clean(call.arguments)
    try:
        arguments = _cleaned(json.loads(call.arguments or "{}"), clean)
    except (ValueError, RecursionError):
        return text
    return Arguments(arguments, text) if isinstance(arguments, dict) else text


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """Return `value` with every text in it cleaned, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {_cleaned(key, clean): _cleaned(inner, clean) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner, clean) for inner in value]
    return value


def _tool(tool: Tool, clean: Callable[[str], str]) -> dict[str, Any]:
    """Describe a tool as OpenAI's interface does, which templates follow."""
    function = {
        "name": clean(tool.name),
        "description": clean(tool.description),
        "parameters": _cleaned(tool.parameters, clean),
    }
    return {"type": "function", "function": function}


def sources(file: ModelFile, facts: ModelFacts, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return the usable templates as (whose, source), best first."""
    usable = [("the file's", facts.chat_template)] if facts.chat_template else []
    listed = str(file.details.get("chat_template") or "")
    for whose, name in (("the registry's", listed), ("its family's", _family(facts, vocabulary))):
        if name in FAMILIES:
            usable.append((f"{whose} ({name})", family_template(name)))
    return usable


def family_template(name: str) -> str:
    """Return the source of one of FAMILIES."""
    return read_text(templates_dir() / "chat" / f"{name}.jinja", 1 << 20).rstrip("\n")


def _family(facts: ModelFacts, vocabulary: Vocabulary) -> str | None:
    for text, name in _BY_TOKEN.items():
        if vocabulary.is_control(text):
            return name
    return next((family for word, family in _BY_NAME.items() if word in facts.name.lower()), None)
