"""Read YAML and JSON as plain data in which each value knows its line and column.

Invariant: for any text, `read_marked` returns JSON-like data (text, numbers, booleans, null, lists,
mappings with text keys) or raises DocumentError, and its work is bounded by `YamlLimits`. Tags,
duplicate keys and merge keys are refused, aliases count as often as they are used, and plain
scalars follow the YAML 1.2 core schema, so that `yes` and `2026-01-01` are text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_JSON_TOKEN = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"|[-+.\w]+')
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text.

    :param line: the line, counted from 1.
    :param column: the column in characters, counted from 1.
    """

    line: int
    column: int


class DocumentError(ValueError):
    """The text cannot be read as data.

    :param reason: what is wrong, in words.
    :param place: where it is.
    """

    def __init__(self, reason: str, place: Place) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


@dataclass(frozen=True, slots=True)
class YamlLimits:
    """The limits of a text.

    :param characters: the maximum length of the text.
    :param depth: the maximum depth of nested lists and mappings.
    :param nodes: the maximum number of values, each counted as often as aliases repeat it.
    """

    characters: int = 1_000_000
    depth: int = 32
    nodes: int = 100_000


@dataclass(slots=True, eq=False)
class Node:
    """A value with its place in the text.

    :param value: the value: plain data.
    :param place: where it begins.
    :param children: the nodes of its items, by key or index.
    :param keys: the places of a mapping's keys.
    :param size: the number of values in it, itself included.
    """

    value: Any
    place: Place
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    size: int = 1

    def place_of(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Return the place of the value at `path`.

        :param path: keys and indexes from this node to the value.
        :param key: whether to return the place of the key instead of its value.
        :returns: the place, or the last one on the path that exists.
        """
        node, key_place = self, self.place
        for step in path:
            if step not in node.children:
                return node.place
            key_place = node.keys[step] if isinstance(step, str) else node.children[step].place
            node = node.children[step]
        return key_place if key else node.place


def read_marked(
    text: str, *, syntax: Literal["yaml", "json"] = "yaml", limits: YamlLimits = YamlLimits()
) -> Node:
    """Parse a text.

    :param text: one document.
    :param syntax: "yaml" or "json".
    :param limits: the bounds on its size.
    :returns: the root of the data.
    :raises DocumentError: for text that is not one document within `limits`; never another error.
    """
    if len(text) > limits.characters:
        raise DocumentError(
            f"the text has {len(text)} characters; at most {limits.characters} are allowed",
            Place(1, 1),
        )
    tree = _Tree(limits)
    try:
        (_read_json if syntax == "json" else _read_yaml)(text, tree)
    except RecursionError:
        tree.fail_depth(Place(1, 1))
    if tree.root is None:
        raise DocumentError("the text is empty", Place(1, 1))
    return tree.root


@dataclass(slots=True)
class _Tree:
    """Builds the data from parser events, without recursion."""

    limits: YamlLimits
    root: Node | None = None
    _open: list[Node] = field(default_factory=list)
    _pending: list[tuple[str, Place] | None] = field(default_factory=list)
    _seen: int = 0

    def open(self, container: dict[str, Any] | list[Any], place: Place) -> Node:
        """Begin a mapping or a list."""
        if self._wants_key():
            raise DocumentError("a mapping's key must be text", place)
        if len(self._open) >= self.limits.depth:
            self.fail_depth(place)
        node = Node(container, place)
        self._open.append(node)
        self._pending.append(None)
        return node

    def close(self) -> None:
        """End the innermost container and add it to its parent."""
        self._pending.pop()
        node = self._open.pop()
        self._count(1, node.place)
        self._put(node)

    def scalar(self, value: Any, raw: str, place: Place) -> Node:
        """Add a key or a value; `raw` is its text, which is used if it is a key."""
        if _SURROGATE.search(raw):
            raw = _joined(raw, place)
            value = raw if isinstance(value, str) else value
        node = Node(value, place)
        if self._wants_key():
            self._key(raw, place)
        else:
            self._count(1, place)
            self._put(node)
        return node

    def alias(self, node: Node, place: Place) -> None:
        """Add a repeated value."""
        if any(node is container for container in self._open):
            raise DocumentError("an alias refers to the value that contains it", place)
        if self._wants_key():
            raise DocumentError("a mapping's key must be text", place)
        self._count(node.size, place)
        self._put(node)

    def fail_depth(self, place: Place) -> NoReturn:
        """Refuse a value that is nested too deeply."""
        raise DocumentError(f"nested more than {self.limits.depth} levels deep", place)

    def _wants_key(self) -> bool:
        return (
            bool(self._open)
            and isinstance(self._open[-1].value, dict)
            and self._pending[-1] is None
        )

    def _key(self, name: str, place: Place) -> None:
        first = self._open[-1].keys.get(name)
        if first:
            raise DocumentError(
                f"the key {name!r} is duplicated, first on line {first.line}", place
            )
        self._pending[-1] = (name, place)

    def _put(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.size += node.size
        pending = self._pending[-1]
        if pending is None:
            parent.children[len(parent.value)] = node
            parent.value.append(node.value)
            return
        name, parent.keys[name] = pending[0], pending[1]
        parent.children[name] = node
        parent.value[name] = node.value
        self._pending[-1] = None

    def _count(self, nodes: int, place: Place) -> None:
        self._seen += nodes
        if self._seen > self.limits.nodes:
            raise DocumentError(f"more than {self.limits.nodes} values, aliases included", place)


def _read_yaml(text: str, tree: _Tree) -> None:
    import yaml

    bad = _UNPRINTABLE.search(text)
    if bad:
        raise DocumentError(
            f"the character {bad[0]!r} is not allowed", _place_at(text, bad.start())
        )
    anchors: dict[str, Node] = {}
    try:
        # libyaml, if it is built in, parses ten times as fast.
        for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            _take(event, tree, anchors)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise DocumentError(f"not valid YAML: {error.problem or error.context}", place) from error
    except yaml.YAMLError as error:
        raise DocumentError(f"not valid YAML: {error}", Place(1, 1)) from error


def _take(event: Any, tree: _Tree, anchors: dict[str, Node]) -> None:
    import yaml

    place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
    match event:
        case yaml.DocumentStartEvent() if tree.root:
            raise DocumentError("only one document is allowed; a second one begins here", place)
        case yaml.AliasEvent():
            if event.anchor not in anchors:
                raise DocumentError(f"no anchor is named {event.anchor!r}", place)
            tree.alias(anchors[event.anchor], place)
        case yaml.NodeEvent():
            tag = getattr(event, "tag", None)
            if tag:
                raise DocumentError(f"tags are not allowed: {tag!r}", place)
            node = _begin(event, tree, place)
            if event.anchor:
                anchors[event.anchor] = node
        case yaml.CollectionEndEvent():
            tree.close()


def _begin(event: Any, tree: _Tree, place: Place) -> Node:
    import yaml

    match event:
        case yaml.MappingStartEvent():
            return tree.open({}, place)
        case yaml.SequenceStartEvent():
            return tree.open([], place)
    plain = event.implicit[0]
    return tree.scalar(_resolve(event.value, place) if plain else event.value, event.value, place)


def _resolve(text: str, place: Place) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return _number(int, text, place)
    return _number(float, text, place) if _FLOAT.fullmatch(text) else text


def _number(kind: type[int] | type[float], text: str, place: Place) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        value = math.inf
    if not -1e308 < value < 1e308:
        raise DocumentError("the number is too large", place)
    return value


def _read_json(text: str, tree: _Tree) -> None:
    """Validate JSON with the standard parser, then add the places in a second pass over tokens."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = Place(error.lineno, error.colno)
        raise DocumentError(f"not valid JSON: {error.msg}", place) from error
    except ValueError as error:
        raise DocumentError(f"not valid JSON: {error}", Place(1, 1)) from error
    line, line_start, done = 1, 0, 0
    for token in _JSON_TOKEN.finditer(text):
        newlines = text.count("\n", done, token.start())
        if newlines:
            line += newlines
            line_start = text.rindex("\n", done, token.start()) + 1
        done = token.end()
        _take_json(token[0], Place(line, token.start() - line_start + 1), tree)


def _take_json(word: str, place: Place, tree: _Tree) -> None:
    if word in "{[":
        tree.open({} if word == "{" else [], place)
    elif word in "}]":
        tree.close()
    elif word.startswith('"'):
        value = json.loads(word)
        tree.scalar(value, value, place)
    else:
        tree.scalar(_resolve(word, place), word, place)


def _joined(text: str, place: Place) -> str:
    """Join the surrogate pairs of two escapes; a lone half is a mistake in the file."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise DocumentError(
            "the text has half a surrogate pair, which is not a character", place
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _place_at(text: str, index: int) -> Place:
    before = text[:index]
    return Place(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)
