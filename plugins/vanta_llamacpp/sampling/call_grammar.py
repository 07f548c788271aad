"""Grammars of tool calls: what a model can write once it calls a tool, or has to call one.

Invariant: every sentence of a grammar is parsed by `OutputParser` as calls of the offered tools.
Their arguments are valid under the tool's schema, but for keywords that no grammar can enforce:
`loosening` removes these, and they are checked when the call is run.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vanta import Tool
from vanta_llamacpp.model import PYTHON
from vanta_llamacpp.sampling.checks import MAX_GRAMMAR
from vanta_llamacpp.sampling.json_schema import UnsupportedSchemaError, grammar_of
from vanta_llamacpp.sampling.loosening import LONGEST, loosened, with_definitions

MOST_CALLS = 8
"""Calls that a grammar allows in one answer."""
CACHED = 16
"""Grammars that are kept."""
DEEPEST_REFERENCE = 4
"""Levels at which references are followed to estimate the length of a value."""
SLACK_TOKENS = 32
"""Tokens to finish a call beside those of its shortest arguments."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a family of models writes calls.

    :param mark: the text that begins the calls; "" if nothing does.
    :param closing: text after each call.
    :param separator: text between two calls; "" if an answer has at most one.
    :param end: text after the last call.
    :param arguments: name of the arguments' key.
    """

    mark: str
    closing: str = ""
    separator: str = ""
    end: str = ""
    arguments: str = "arguments"


HERMES = CallFormat("<tool_call>", "\n</tool_call>", "\n<tool_call>")
MISTRAL_LIST = CallFormat("[TOOL_CALLS]", separator=", ", end="]")
LLAMA3 = CallFormat("", arguments="parameters")


def format_of(template: str) -> tuple[CallFormat, bool]:
    """Return the format that a chat template describes, and whether the model was trained on it.

    Any model can be made to write `HERMES`, which `OutputParser` reads for every model.

    :param template: the template's source.
    """
    if "<function=" in template or "[ARGS]" in template:
        return HERMES, False
    if "[TOOL_CALLS]" in template:
        return MISTRAL_LIST, True
    if "<tool_call>" in template or "tools" not in template:
        return HERMES, True
    if PYTHON in template or '"parameters"' in template:
        return LLAMA3, True
    return HERMES, False


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """The grammars of one request's calls.

    :param whole: GBNF of an answer that is nothing but calls.
    :param after_mark: GBNF of the rest of an answer once the model has written `mark`.
    :param mark: the format's mark; "" if calls and text may begin alike.
    :param reserve_tokens: tokens that the shortest call takes, on the high side.
    """

    whole: str
    after_mark: str
    mark: str
    reserve_tokens: int


def call_grammar(form: CallFormat, tools: Sequence[Tool], *, parallel: bool) -> CallGrammar:
    """Return the grammars of calls of `tools`.

    :param form: how the model writes calls.
    :param tools: the tools that may be called, at least one.
    :param parallel: whether one answer may have several calls.
    """
    described = json.dumps([[tool.name, dict(tool.parameters)] for tool in tools], default=str)
    return _cached(form, described, parallel)


@functools.lru_cache(maxsize=CACHED)
def _cached(form: CallFormat, described: str, parallel: bool) -> CallGrammar:
    tools: list[tuple[str, dict[str, Any]]] = json.loads(described)
    rules = _rules(form, [(name, loosened(schema)) for name, schema in tools])
    if rules is None:
        rules = _rules(form, [(name, {"type": "object"}) for name, _ in tools]) or ""
    more = ""
    if parallel and form.separator:
        more = f" ({_literal(form.separator)}call){{0,{MOST_CALLS - 1}}}"
    bracket = "[" if form is MISTRAL_LIST else ""
    body = f"{_literal(bracket)}call{more}{_literal(form.end)}"
    call = f'call ::= "\\n"? vanta-call{_literal(form.closing)}\n{rules}'
    longest = max(closing_tokens(schema) + len(name) // 2 for name, schema in tools)
    return CallGrammar(
        whole=f"root ::= {_literal(form.mark)}{body}\n{call}",
        after_mark=f"root ::= {body}\n{call}",
        mark=form.mark,
        reserve_tokens=longest,
    )


def _rules(form: CallFormat, tools: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    """Return the rules of `vanta-call`, the JSON of one call; None if they become too large."""
    branches: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for number, (name, schema) in enumerate(tools):
        inner, own = with_definitions(schema, f"tool-{number}")
        definitions |= own
        branches.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, form.arguments: inner},
                "required": ["name", form.arguments],
                "additionalProperties": False,
            }
        )
    combined = branches[0] if len(branches) == 1 else {"anyOf": branches}
    try:
        grammar = grammar_of({**combined, "$defs": definitions} if definitions else combined)
    except UnsupportedSchemaError:
        return None
    if len(grammar) > MAX_GRAMMAR - 1024:
        return None
    return re.sub(r"^root ::=", "vanta-call ::=", grammar, flags=re.MULTILINE)


def _literal(text: str) -> str:
    """Return a text as a literal of a grammar, between spaces; "" for an empty text."""
    if not text:
        return " "
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f' "{escaped}" '


_EMPTY: Mapping[str, Any] = {"array": [], "object": {}, "number": 0, "integer": 0}


def closing_tokens(schema: Mapping[str, Any]) -> int:
    """Return the tokens that the shortest JSON of a schema takes, on the high side.

    :param schema: a JSON schema.
    """
    definitions = {
        f"#/{group}/{name}": inner
        for group in ("$defs", "definitions")
        if isinstance(schema.get(group), Mapping)
        for name, inner in schema[group].items()
    }
    return len(json.dumps(_shortest(schema, definitions))) // 2 + SLACK_TOKENS


def _shortest(schema: Any, definitions: Mapping[str, Any], depth: int = 0) -> Any:
    """Return about the shortest value of a schema, to estimate the length of its JSON."""
    if isinstance(schema, Mapping) and "$ref" in schema and depth <= DEEPEST_REFERENCE:
        schema = definitions.get(str(schema["$ref"]))
    if not isinstance(schema, Mapping) or depth > MOST_CALLS:
        return "null"
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    branches = schema.get("anyOf") or schema.get("oneOf")
    properties = schema.get("properties")
    least = schema.get("minLength") or schema.get("minItems")
    shortest: Any = _EMPTY.get(str(schema.get("type")), "null")
    if values:
        shortest = max(values, key=lambda value: len(json.dumps(value)))
    elif branches:
        values = [_shortest(branch, definitions, depth + 1) for branch in branches[:MOST_CALLS]]
        shortest = max(values, key=lambda value: len(json.dumps(value)))
    elif isinstance(properties, Mapping):
        required = [name for name in schema.get("required", ()) if name in properties]
        shortest = {name: _shortest(properties[name], definitions, depth + 1) for name in required}
    elif isinstance(least, int):
        item = _shortest(schema["items"], definitions, depth + 1) if "items" in schema else "x"
        shortest = [item] * min(least, LONGEST)
    return shortest
