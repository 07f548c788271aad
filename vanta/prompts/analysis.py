"""Analysis of templates: problems in a file, and which file or variable wrote which text.

A template is checked together with all that it includes and extends, because only together they
declare and use their variables. To attribute text, the template is rendered once more with a mark
around everything that is written; the marks are private-use characters and are removed again.
Invariants: checking raises nothing, and each problem names file and line as far as they are known;
the spans joined are the text. Where they would not be (a filter counted or cut the marks), the
whole text is one span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import BaseLoader, nodes
from jinja2.meta import find_referenced_templates, find_undeclared_variables
from jinja2.visitor import NodeTransformer

from vanta.errors import TemplateError, UnknownName, did_you_mean
from vanta.prompts.front_matter import Template
from vanta.prompts.rendering import ALLOWED, Renderer
from vanta.prompts.sandbox.contract import RenderLimits
from vanta.prompts.sandbox.environment import MeteredEnvironment

SpanKind = Literal["template", "variable"]
Label = tuple[SpanKind, str]

_BUILT_IN = frozenset({"range", "namespace"})
_OPEN, _CLOSE, _FIRST = "\ue000", "\ue001", 0xE100
_MARK = re.compile(f"({_OPEN}.|{_CLOSE})", re.DOTALL)


def problems(
    renderer: Renderer,
    name: str,
    *,
    names: Iterable[str],
    given: Collection[str],
    render: Callable[[str, Mapping[str, Any]], str],
) -> tuple[str, ...]:
    """Return the problems of template `name`, a sentence each; see `Templates.check`."""
    try:
        template = renderer.find(name)
        renderer.compile(template)
        wholes = _wholes_around(renderer, name, names)
        messages = [*_unused(renderer, template, wholes or [template])]
        if not wholes:
            messages += _undeclared(renderer, template, given)
        if not messages and not wholes and not _needs_values(renderer, template):
            render(template.name, dict.fromkeys(given, "x"))
    except (TemplateError, UnknownName) as error:
        return (str(error),)
    return tuple(messages)


def undeclared(renderer: Renderer, template: Template) -> Iterator[tuple[str, str]]:
    """Yield variables that `template` or a part of it uses without a declaration.

    Each comes with its file and line. Raises TemplateError.
    """
    parts = [(part, renderer.parse(part)) for part in renderer.parts(template)]
    known = {*renderer.variables(template), *_BUILT_IN}
    for _, tree in parts:
        known |= _assigned(tree)
    for part, tree in parts:
        for name in sorted(find_undeclared_variables(tree) - known):
            line = min(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
            yield name, f"{part.path}:{line}"


def _wholes_around(renderer: Renderer, name: str, names: Iterable[str]) -> list[Template]:
    """Return the other templates that `name` is a part of, broken ones left out."""
    wholes = []
    for other in names:
        try:
            parts = renderer.parts(renderer.find(other))
        except (TemplateError, UnknownName):
            continue
        if other != name and name in {part.name for part in parts}:
            wholes.append(parts[0])
    return wholes


def _undeclared(renderer: Renderer, template: Template, given: Collection[str]) -> Iterator[str]:
    declared = renderer.variables(template)
    advice = "Declare it there under 'variables'."
    for name, place in undeclared(renderer, template):
        if name not in given:
            near = did_you_mean(name, declared)
            hint = near if near.startswith("Did you mean") else advice
            yield f"{place}: uses {name!r}, which no front matter declares. {hint}"


def _unused(renderer: Renderer, template: Template, wholes: list[Template]) -> Iterator[str]:
    used: set[str] = set()
    for part in {part.name: part for whole in wholes for part in renderer.parts(whole)}.values():
        tree = renderer.parse(part)
        if None in find_referenced_templates(tree):
            return  # what it includes is only known when it is rendered
        used |= {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
    for name in template.variables:
        if name not in used:
            line = template.lines[f"variables.{name}"]
            yield f"{template.path}:{line}: declares {name!r}, which nothing uses. Remove it."


def _assigned(tree: nodes.Template) -> set[str]:
    """Return the names that a template assigns itself, which its includes see too."""
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    return stored | {node.name for node in tree.find_all(nodes.Macro)}


def _needs_values(renderer: Renderer, template: Template) -> bool:
    return any(variable.required for variable in renderer.variables(template).values())


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A stretch of a rendered text.

    :param kind: whether the template's own text or a variable's value.
    :param name: name of the template, or of the variable.
    :param text: the stretch.
    """

    kind: SpanKind
    name: str
    text: str


def spans(
    find: Callable[[str], Template],
    limits: RenderLimits,
    template: Template,
    values: Mapping[str, Any],
    text: str,
) -> tuple[TextSpan, ...]:
    """Divide `text`, which `template` rendered from `values`, into spans."""
    labels: list[Label] = []

    def environment(loader: BaseLoader) -> MeteredEnvironment:
        return _MarkingEnvironment(loader, values, labels)

    whole = (TextSpan("template", template.name, text),)
    try:
        marked = Renderer(find, limits, environment).render(template, values)
    except TemplateError:  # the marks made it too long
        return whole
    own: Label = ("template", template.name)
    merged = _merged(_stretches(marked, labels, own))
    start = len(_joined(merged)) - len(_joined(merged).lstrip("\n"))
    cut = tuple(_cut(merged, start, len(text)))
    return cut if _joined(cut) == text else whole


class _MarkingEnvironment(MeteredEnvironment):
    """Encloses what is written in marks that hold the index of a label in `labels`."""

    def __init__(self, loader: BaseLoader, variables: Collection[str], labels: list[Label]) -> None:
        super().__init__(ALLOWED, loader)
        self._variables = variables
        self._labels = labels

    def compile(self, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Compile with the marks."""
        name, *_ = *args, "?"
        tree = self.parse(source, *args[:2]) if isinstance(source, str) else source
        marking = _Marking(str(name), _aliases(tree, self._variables), self._labels)
        return super().compile(marking.visit(tree), *args, **kwargs)


class _Marking(NodeTransformer):
    def __init__(self, name: str, variable_of: Mapping[str, str], labels: list[Label]) -> None:
        self._name = name
        self._variable_of = variable_of
        self._labels = labels

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - Jinja's protocol
        marked: list[nodes.Expr] = []
        for child in node.nodes:
            opening = nodes.TemplateData(_OPEN + self._mark(child), lineno=child.lineno)
            marked += [opening, child, nodes.TemplateData(_CLOSE, lineno=child.lineno)]
        node.nodes = marked
        return node

    def _mark(self, child: nodes.Expr) -> str:
        names = _variables_in(child, self._variable_of)
        label: Label = ("variable", ", ".join(names)) if names else ("template", self._name)
        if label not in self._labels:
            self._labels.append(label)
        return chr(_FIRST + self._labels.index(label))


def _aliases(tree: nodes.Node, variables: Collection[str]) -> dict[str, str]:
    """Map each name that holds a variable, or a value from one, to that variable."""
    aliases = {name: name for name in variables}
    for node in tree.find_all((nodes.For, nodes.Assign)):
        match node:
            case nodes.For(target=target, iter=source) | nodes.Assign(target=target, node=source):
                held = _variables_in(source, aliases)
                aliases.update({name: held[0] for name in _names_in(target) if held})
    return aliases


def _names_in(node: nodes.Node) -> list[str]:
    names = [node, *node.find_all(nodes.Name)]
    return [name.name for name in names if isinstance(name, nodes.Name)]


def _variables_in(node: nodes.Node, variable_of: Mapping[str, str]) -> list[str]:
    names = _names_in(node)
    return list(dict.fromkeys(variable_of[name] for name in names if name in variable_of))


def _stretches(marked: str, labels: list[Label], own: Label) -> Iterator[TextSpan]:
    open_labels: list[Label] = [own]
    for part in _MARK.split(marked):
        if part == _CLOSE:
            open_labels = open_labels[:-1] or [own]
        elif part.startswith(_OPEN):
            number = ord(part[1]) - _FIRST
            open_labels.append(labels[number] if 0 <= number < len(labels) else own)
        elif part:
            yield TextSpan(*open_labels[-1], part)


def _merged(stretches: Iterable[TextSpan]) -> list[TextSpan]:
    merged: list[TextSpan] = []
    for span in stretches:
        if merged and (merged[-1].kind, merged[-1].name) == (span.kind, span.name):
            merged[-1] = TextSpan(span.kind, span.name, merged[-1].text + span.text)
        else:
            merged.append(span)
    return merged


def _cut(stretches: Iterable[TextSpan], start: int, length: int) -> Iterator[TextSpan]:
    """Yield the spans between two positions of their text."""
    at = 0
    for span in stretches:
        text = span.text[max(0, start - at) : max(0, start + length - at)]
        at += len(span.text)
        if text:
            yield TextSpan(span.kind, span.name, text)


def _joined(stretches: Iterable[TextSpan]) -> str:
    return "".join(span.text for span in stretches)
