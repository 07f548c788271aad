"""Reads the bodies of calls that a model writes into its text, in the notations of many families.

Values that a notation writes without their type, such as `<parameter=days>2</parameter>`, get the
type that the tool's schema gives them. Invariants: every reader takes time linear in the length of
the body, returns None for what is not a call, and raises nothing.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vanta.files import parse_json

Calls = list[tuple[str, str]]
"""Names, and arguments as JSON text."""

Schemas = Mapping[str, Mapping[str, Any]]
"""The schemas of the tools that may be called, by name."""

NAME = r"[\w.\-:/]{1,128}"
LONGEST_PYTHON = 100_000
_DEEPEST_SCHEMA = 8

_FUNCTION_HEAD = re.compile(
    rf'\s*(?:<\|?(?:｜DSML｜)?(?:function|invoke))?(?:=|\s*name=)?"?({NAME})"?\s*>'
)
_PARAMETER = re.compile(
    r'<(?:｜DSML｜)?param(?:eter)?(?:=|\s+name=")([^>"\n]{1,256})"?'
    r'(?:\s+string="(true|false)")?\s*>(.*?)(?:</(?:｜DSML｜)?param(?:eter)?>|\Z)',
    re.DOTALL,
)
_NAME_AND_JSON = re.compile(
    rf"\s*(?:functions\.)?({NAME}?)(?::\d+)?\s*"
    r"(?:\[CALL_ID\][^\[]{0,128})?(?:\[ARGS\]|<\|tool_call_argument_begin\|>|<｜tool▁sep｜>)?\s*"
    r"(\{.*)",
    re.DOTALL,
)
_FENCED = re.compile(
    rf"\s*(?:<｜tool▁call▁begin｜>)?\w*<｜tool▁sep｜>({NAME})\s*```json\s*(.*)", re.DOTALL
)
_HARMONY = re.compile(
    rf"\s*({NAME})\s*(?:<\|channel\|>\s*\w+)?\s*(?:<\|constrain\|>)?\s*\w*\s*<\|message\|>(.*)",
    re.DOTALL,
)
_GLM_HEAD = re.compile(rf"\s*({NAME})\s*(?=<arg_key>|\Z)")
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w\-]*)\s*:")
_GEMMA = re.compile(rf"\s*call:({NAME}?)\s*(\{{.*)", re.DOTALL)
_NAME_KEY = re.compile(r'"(?:name|tool_name|function)"\s*:\s*"([^"\\]{1,128})"')
_ARGUMENTS_KEY = re.compile(r'"(?:arguments|parameters)"\s*:\s*')


def read_json(body: str, schemas: Schemas) -> Calls | None:
    """Return the calls in JSON: objects with a name and arguments, a list of them, or several.

    :param body: the text of the JSON.
    :param schemas: the tools that may be called.
    """
    calls: Calls = []
    try:
        for value in _values(body):
            for item in value if isinstance(value, list) else [value]:
                call = _named(item, schemas)
                if call is None:
                    return None
                calls.append(call)
    except (ValueError, RecursionError, MemoryError):
        return None
    return calls or None


_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s;,]*")


def _values(body: str) -> Iterator[Any]:
    """Yield each JSON value of a text with `;`, `,` or white space between them."""
    start = _BETWEEN.match(body, 0).end()  # type: ignore[union-attr]
    while start < len(body):
        value, end = _DECODER.raw_decode(body, start)
        yield value
        start = _BETWEEN.match(body, end).end()  # type: ignore[union-attr]


def _named(call: Any, schemas: Schemas) -> tuple[str, str] | None:
    if not isinstance(call, dict):
        return None
    if isinstance(call.get("function"), dict):
        call = call["function"]
    names = (call.get(key) for key in ("name", "tool_name", "function"))
    name = next((name for name in names if isinstance(name, str) and name), None)
    if name is None and len(call) == 1:  # Apertus writes {name: arguments}
        name, arguments = next(iter(call.items()))
        if name not in schemas or not isinstance(arguments, dict):
            return None
        return name, _json(arguments)
    if name is None:
        return None
    arguments = call.get("arguments", call.get("parameters"))
    if isinstance(arguments, str):
        return name, arguments or "{}"
    return name, _json({} if arguments is None else arguments)


def read_function(body: str, schemas: Schemas) -> Calls | None:
    """Return a call written as `NAME>` and JSON, or as `NAME>` and an element per parameter.

    These are Llama 3.1's and Functionary's `<function=NAME>{...}`, Qwen 3 Coder's and Seed's
    `<parameter=KEY>`, and the `<invoke name="NAME">` of MiniMax and DeepSeek 3.2.
    """
    head = _FUNCTION_HEAD.match(body)
    if head is None:
        return None
    name, rest = head[1], body[head.end() :].strip()
    for end in ("</tool_call>", "</function>", "</invoke>", "</｜DSML｜invoke>"):
        rest = rest.removesuffix(end).rstrip()
    if rest.startswith("{"):
        return _with(name, rest)
    types = _properties(schemas.get(name))
    values: dict[str, Any] = {}
    for key, is_text, value in _PARAMETER.findall(rest):
        key = key.strip()  # noqa: PLW2901
        value = value.removeprefix("\n").removesuffix("\n")  # noqa: PLW2901
        values[key] = value if is_text == "true" else typed(value, types.get(key))
    return [(name, _json(values))] if values or not rest else None


def read_invocations(body: str, schemas: Schemas) -> Calls | None:
    """Return the calls of `<invoke name="NAME">` elements, one after the other."""
    calls: Calls = []
    for part in re.split(r"</(?:｜DSML｜)?invoke>", body):
        if not part.strip():
            continue
        call = read_function(part, schemas)
        if call is None:
            return None
        calls += call
    return calls or None


def read_tagged(body: str, schemas: Schemas) -> Calls | None:
    """Return the calls inside `<tool_call>`: JSON, a function element, or GLM's pairs.

    Hermes, Qwen 2.5 and 3, Granite 4 and Reka write JSON, Qwen 3 Coder a function, GLM and Spark
    the name with `<arg_key>` and `<arg_value>` pairs.
    """
    bare = body.lstrip()
    if bare.startswith(("{", "[")):
        return read_json(body, schemas)
    if bare.startswith("<function"):
        return read_function(bare, schemas)
    head = _GLM_HEAD.match(body)
    if head is None or (head.end() == len(body) and head[1] not in schemas):
        return None
    types = _properties(schemas.get(head[1]))
    values: dict[str, Any] = {}
    for pair in body[head.end() :].split("<arg_key>")[1:]:
        key, _, rest = pair.partition("</arg_key>")
        _, mark, rest = rest.partition("<arg_value>")
        value, end, _ = rest.partition("</arg_value>")
        if not (mark and end):
            return None
        values[key.strip()] = typed(value, types.get(key.strip()))
    return [(head[1], _json(values))]


def read_named(body: str, schemas: Schemas) -> Calls | None:
    """Return a call written as a name, a separator and JSON: Mistral, Kimi, DeepSeek 3.1."""
    body = body.replace("<|tool_call_begin|>", "", 1).replace("<｜tool▁call▁begin｜>", "", 1)
    if body.lstrip().startswith(("{", "[")):
        return read_json(body, schemas)
    fenced = _FENCED.match(body)
    if fenced:
        return _with(fenced[1], fenced[2].strip().removesuffix("```").rstrip())
    match = _NAME_AND_JSON.match(body)
    return _with(match[1], match[2].strip()) if match else None


def read_harmony(body: str, _schemas: Schemas) -> Calls | None:
    """Return a call of gpt-oss: `NAME<|channel|>commentary <|constrain|>json<|message|>{...}`."""
    match = _HARMONY.match(body)
    return _with(match[1], match[2].strip()) if match else None


def read_gemma(body: str, _schemas: Schemas) -> Calls | None:
    """Return a call of Gemma 4: `call:NAME{key:<|"|>text<|"|>,other:1}`."""
    match = _GEMMA.match(body)
    if match is None:
        return None
    parts = match[2].strip().split('<|"|>')
    pieces = [
        json.dumps(part, ensure_ascii=False) if place % 2 else _BARE_KEY.sub(r'\1"\2":', part)
        for place, part in enumerate(parts)
    ]
    return _with(match[1], "".join(pieces))


def read_python(body: str, _schemas: Schemas) -> Calls | None:
    """Return the calls of a Python list, as LFM2 writes it: `[name(key="text", other=1)]`."""
    if len(body) > LONGEST_PYTHON:
        return None
    try:
        tree = ast.parse(body.strip(), mode="eval").body
        items = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
        return [_python_call(item) for item in items] or None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _python_call(node: ast.expr) -> tuple[str, str]:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("not a call with named arguments")
    values = {str(item.arg): _literal(item.value) for item in node.keywords}
    return ast.unparse(node.func), _json(values)


_WORDS = {"true": True, "false": False, "null": None}


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {
            str(_literal(key)): _literal(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | bool | None):
        raise ValueError("not a JSON value")  # noqa: TRY004 - the input is wrong, not a call
    return value


def _with(name: str, arguments: str) -> Calls | None:
    """Return a call if `arguments` is a JSON object or empty."""
    try:
        value = parse_json(arguments or "{}")
    except ValueError:
        return None
    return [(name, arguments or "{}")] if isinstance(value, dict) else None


def broken_call(body: str, schemas: Schemas) -> Calls | None:
    """Return a call that a model began and did not write well, for the model to correct.

    :param body: the text after the mark.
    :param schemas: the tools that may be called; a call of another one is not recognised.
    :returns: the call with the arguments as they were written, or None.
    """
    match = _NAME_KEY.search(body)
    if match is None:
        head = re.match(rf"\s*(?:<(?:function|invoke)(?:=|\s+name=\"))?({NAME})", body)
        if head is None or head[1] not in schemas:
            return None
        return [(head[1], body[head.end() :].strip() or "{}")]
    if match[1] not in schemas:
        return None
    arguments = _ARGUMENTS_KEY.search(body)
    return [(match[1], body[arguments.end() :].strip() if arguments else body.strip())]


def typed(text: str, schema: object) -> Any:
    """Return the value of a parameter that is written without its type.

    :param text: the text of the value.
    :param schema: the schema of the parameter, or None if it is not known.
    """
    types = frozenset(_types(schema, _DEEPEST_SCHEMA))
    if types == {"string"}:
        return text
    try:
        value = parse_json(text)
    except ValueError:
        return text
    if isinstance(value, str):
        return value if types and "string" not in types else text
    if "string" in types and not (_KINDS[type(value)] & types):
        return text
    return value


_KINDS: Mapping[type, frozenset[str]] = {
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    list: frozenset({"array"}),
    dict: frozenset({"object"}),
    type(None): frozenset({"null"}),
}


def _types(schema: object, depth: int) -> Iterator[str]:
    """Yield the names of the types that a schema allows, as far as it names them."""
    if not isinstance(schema, Mapping) or not depth:
        return
    kinds = schema.get("type")
    yield from [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else ()
    values = schema.get("enum") if isinstance(schema.get("enum"), list) else ()
    for value in [*(values or ()), *([schema["const"]] if "const" in schema else ())]:
        yield from {"string"} if isinstance(value, str) else _KINDS.get(type(value), ())
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        for branch in branches if isinstance(branches, list) else ():
            yield from _types(branch, depth - 1)


def _properties(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    properties = (schema or {}).get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class JsonEnd:
    """Finds the end of the JSON object or list that a text begins with, as the text arrives.

    :ivar at: characters up to the end, None before it.
    :ivar in_text: whether the last character is inside a string.
    """

    def __init__(self) -> None:
        self.at: int | None = None
        self.in_text = False
        self.read = 0
        self._escaped = False
        self._depth = 0

    def feed(self, text: str) -> int | None:
        """Read more text, in time linear in its length, and return `at`.

        :param text: the next fragment.
        """
        for letter in text:
            if self.at is not None:
                break
            self.read += 1
            if self.in_text:
                self.in_text = self._escaped or letter != '"'
                self._escaped = letter == "\\" and not self._escaped
            elif letter == '"':
                self.in_text = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self.at = self.read
        return self.at
