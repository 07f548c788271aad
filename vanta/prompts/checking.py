"""Finds what is wrong with a template before anybody renders it.

A whole template is checked with all that it includes and extends, for only together do they say
what is declared and what is used. Invariant: nothing raises; every problem says file and line as
far as they are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from jinja2 import nodes
from jinja2.meta import find_referenced_templates, find_undeclared_variables

from vanta.errors import TemplateError, UnknownName, did_you_mean
from vanta.prompts.front_matter import Template
from vanta.prompts.rendering import Renderer

if TYPE_CHECKING:
    from vanta.prompts.templates import Templates

_BUILT_IN = frozenset({"range", "namespace"})


def problems(
    templates: Templates, renderer: Renderer, name: str, given: Collection[str]
) -> tuple[str, ...]:
    """What is wrong with template `name`; see `Templates.check`."""
    try:
        template = templates.get(name)
        renderer.compile(template)
        around = _wholes_around(templates, renderer, name)
        found = [*_unused(renderer, template, around or [template])]
        if not around:
            found += _undeclared(renderer, template, given)
        if not found and not around:
            _try(templates, renderer, template, given)
    except (TemplateError, UnknownName) as error:
        return (str(error),)
    return tuple(found)


def _wholes_around(templates: Templates, renderer: Renderer, name: str) -> list[Template]:
    """The other templates that `name` is a part of; those that are broken are not looked into."""
    found = []
    for other in templates.files:
        try:
            parts = renderer.parts(templates.get(other))
        except (TemplateError, UnknownName):
            continue
        if other != name and name in {part.name for part in parts}:
            found.append(parts[0])
    return found


def undeclared(renderer: Renderer, template: Template) -> Iterator[tuple[str, str]]:
    """The variables that `template` or a part of it uses though no front matter declares them,
    each with file and line. Raises TemplateError."""
    parts = [(part, renderer.parse(part)) for part in renderer.parts(template)]
    known = {*renderer.variables(template), *_BUILT_IN}
    for _, tree in parts:
        known |= _assigned(tree)
    for part, tree in parts:
        for name in sorted(find_undeclared_variables(tree) - known):
            line = min(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
            yield name, f"{part.path}:{line}"


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
    """The names that a template gives a meaning itself, to what it includes, too."""
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    return stored | {node.name for node in tree.find_all(nodes.Macro)}


def _try(
    templates: Templates, renderer: Renderer, template: Template, given: Collection[str]
) -> None:
    """Render it once with its defaults, if it has them all."""
    if not any(variable.required for variable in renderer.variables(template).values()):
        templates.render(template.name, dict.fromkeys(given, "x"))
