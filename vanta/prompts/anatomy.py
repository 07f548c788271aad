"""What a rendered text is made of: which of it a file says, which a variable.

The template is rendered once more with a mark around everything that is written; the marks are
private-use characters and are taken out again. Invariant: the pieces joined are the text. Where
they would not be (a filter counted or cut the marks), all of it is one piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import BaseLoader, nodes
from jinja2.visitor import NodeTransformer

from vanta.errors import TemplateError
from vanta.prompts.front_matter import Template
from vanta.prompts.limits import RenderLimits
from vanta.prompts.rendering import Renderer
from vanta.prompts.sandbox import PromptEnvironment

Kind = Literal["template", "variable"]
Label = tuple[Kind, str]

_OPEN, _CLOSE, _FIRST = "\ue000", "\ue001", 0xE100
_MARK = re.compile(f"({_OPEN}.|{_CLOSE})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a rendered text. name: of the template that says it, or of the variable."""

    kind: Kind
    name: str
    text: str


def dissect(
    find: Callable[[str], Template],
    limits: RenderLimits,
    template: Template,
    values: Mapping[str, Any],
    text: str,
) -> tuple[Piece, ...]:
    """`text`, which `template` makes of `values`, in pieces."""
    labels: list[Label] = []

    def environment(loader: BaseLoader) -> PromptEnvironment:
        return _MarkingEnvironment(loader, values, labels)

    whole = (Piece("template", template.name, text),)
    try:
        marked = Renderer(find, limits, environment).render(template, values)
    except TemplateError:  # the marks made it too long
        return whole
    own: Label = ("template", template.name)
    pieces = _merged(_stretches(marked, labels, own))
    start = len(_joined(pieces)) - len(_joined(pieces).lstrip("\n"))
    found = tuple(_cut(pieces, start, len(text)))
    return found if _joined(found) == text else whole


class _MarkingEnvironment(PromptEnvironment):
    """Marks what is written with the place of its label in `labels`."""

    def __init__(self, loader: BaseLoader, variables: Collection[str], labels: list[Label]) -> None:
        super().__init__(loader)
        self._variables = variables
        self._labels = labels

    def compile(self, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Compile with the marks."""
        name, *_ = *args, "?"
        tree = self.parse(source, *args[:2]) if isinstance(source, str) else source
        marking = _Marking(str(name), _aliases(tree, self._variables), self._labels)
        return super().compile(marking.visit(tree), *args, **kwargs)


class _Marking(NodeTransformer):
    def __init__(self, name: str, stands_for: Mapping[str, str], labels: list[Label]) -> None:
        self._name = name
        self._stands_for = stands_for
        self._labels = labels

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - Jinja's protocol
        marked: list[nodes.Expr] = []
        for child in node.nodes:
            opening = nodes.TemplateData(_OPEN + self._mark(child), lineno=child.lineno)
            marked += [opening, child, nodes.TemplateData(_CLOSE, lineno=child.lineno)]
        node.nodes = marked
        return node

    def _mark(self, child: nodes.Expr) -> str:
        names = _variables_in(child, self._stands_for)
        label: Label = ("variable", ", ".join(names)) if names else ("template", self._name)
        if label not in self._labels:
            self._labels.append(label)
        return chr(_FIRST + self._labels.index(label))


def _aliases(tree: nodes.Node, variables: Collection[str]) -> dict[str, str]:
    """For each name that holds a variable or what is in one: that variable."""
    found = {name: name for name in variables}
    for node in tree.find_all((nodes.For, nodes.Assign)):
        match node:
            case nodes.For(target=target, iter=source) | nodes.Assign(target=target, node=source):
                held = _variables_in(source, found)
                found.update({name: held[0] for name in _names_in(target) if held})
    return found


def _names_in(node: nodes.Node) -> list[str]:
    found = [node, *node.find_all(nodes.Name)]
    return [each.name for each in found if isinstance(each, nodes.Name)]


def _variables_in(node: nodes.Node, stands_for: Mapping[str, str]) -> list[str]:
    names = _names_in(node)
    return list(dict.fromkeys(stands_for[name] for name in names if name in stands_for))


def _stretches(marked: str, labels: list[Label], own: Label) -> Iterator[Piece]:
    open_: list[Label] = [own]
    for part in _MARK.split(marked):
        if part == _CLOSE:
            open_ = open_[:-1] or [own]
        elif part.startswith(_OPEN):
            number = ord(part[1]) - _FIRST
            open_.append(labels[number] if 0 <= number < len(labels) else own)
        elif part:
            yield Piece(*open_[-1], part)


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    found: list[Piece] = []
    for piece in pieces:
        if found and (found[-1].kind, found[-1].name) == (piece.kind, piece.name):
            found[-1] = Piece(piece.kind, piece.name, found[-1].text + piece.text)
        else:
            found.append(piece)
    return found


def _cut(pieces: Iterable[Piece], start: int, length: int) -> Iterator[Piece]:
    """The pieces between two places of their text."""
    at = 0
    for piece in pieces:
        text = piece.text[max(0, start - at) : max(0, start + length - at)]
        at += len(piece.text)
        if text:
            yield Piece(piece.kind, piece.name, text)


def _joined(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
