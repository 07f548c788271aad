"""Renders prompt templates in the sandbox and explains what goes wrong.

Invariant: nothing but TemplateError leaves this module for what a template does, whatever that is.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nodes
from jinja2.meta import find_referenced_templates

from vanta.errors import TemplateError, UnknownName
from vanta.prompts.front_matter import Template, Variable
from vanta.prompts.sandbox.contract import AllowList, RenderLimits, SandboxError
from vanta.prompts.sandbox.environment import MeteredEnvironment, render
from vanta.prompts.sandbox.meter import metering

_FILTERS = """
    abs capitalize count d default dictsort first float indent int items join last length list lower
    map max min reject rejectattr replace reverse round select selectattr sort string title tojson
    trim truncate unique upper wordcount
"""
_TEXT_METHODS = """
    capitalize count endswith find lower lstrip rstrip split splitlines startswith strip title upper
"""
ALLOWED = AllowList(
    filters=frozenset(_FILTERS.split()),
    methods={
        str: frozenset(_TEXT_METHODS.split()),
        dict: frozenset(("get", "items", "keys", "values")),
    },
)
MakeEnvironment = Callable[[jinja2.BaseLoader], MeteredEnvironment]


def prompt_environment(loader: jinja2.BaseLoader) -> MeteredEnvironment:
    """Return the environment of prompt templates."""
    return MeteredEnvironment(ALLOWED, loader)


class Renderer:
    """Renders templates.

    :param find: returns a template by name.
    :param limits: the resources of each rendering.
    :param environment: makes the environment, given a loader.
    """

    def __init__(
        self,
        find: Callable[[str], Template],
        limits: RenderLimits,
        environment: MakeEnvironment = prompt_environment,
    ) -> None:
        self.find = find
        self._limits = limits
        self._environment = environment(_Loader(find))
        self._references: dict[Path, tuple[Template, tuple[str, ...]]] = {}

    def variables(self, template: Template) -> Mapping[str, Variable]:
        """Return what rendering `template` takes; an outer file's declaration wins."""
        variables: dict[str, Variable] = {}
        for part in self.parts(template):
            variables = {**part.variables, **variables}
        return variables

    def parts(self, template: Template) -> tuple[Template, ...]:
        """Return `template` and all that it includes, extends or imports by a constant name."""
        parts = [template]
        for part in parts:
            known = {known_part.name for known_part in parts}
            names = dict.fromkeys(self._referenced(part))
            parts += [self._part(template, name) for name in names if name not in known]
        return tuple(parts)

    def parse(self, template: Template) -> jinja2.nodes.Template:
        """Return the syntax tree of `template`. Raises TemplateError."""
        try:
            return self._environment.parse(template.source, template.name, str(template.path))
        except (jinja2.TemplateSyntaxError, RecursionError, SandboxError) as error:
            raise _explained(template, error) from error

    def compile(self, template: Template) -> None:
        """Compile `template` ahead of its first rendering. Raises TemplateError."""
        self.variables(template)
        try:
            with metering(self._limits):
                self._environment.get_template(template.name)
        except Exception as error:
            raise _explained(template, error) from error

    def render(self, template: Template, values: Mapping[str, Any]) -> str:
        """Return the text of `template` without empty lines around it. Raises TemplateError."""

        def compiled() -> jinja2.Template:
            return self._environment.get_template(template.name)

        try:
            return render(self._environment, compiled, values, self._limits).strip("\n")
        except Exception as error:  # a template can raise anything: {{ 1 / 0 }}
            raise _explained(template, error) from error

    def _referenced(self, template: Template) -> tuple[str, ...]:
        """Return the constant names of what `template` includes, extends or imports."""
        known = self._references.get(template.path)
        if known is None or known[0] is not template:
            names = tuple(filter(None, find_referenced_templates(self.parse(template))))
            known = self._references[template.path] = (template, names)
        return known[1]

    def _part(self, template: Template, name: str) -> Template:
        try:
            return self.find(name)
        except UnknownName as error:
            problem = f"template {template.name!r} ({template.path}) includes a missing template"
            raise TemplateError(f"{problem}: {error}") from error


class _Loader(jinja2.BaseLoader):
    """Passes Jinja what `find` returns; a template that was read anew is compiled anew."""

    def __init__(self, find: Callable[[str], Template]) -> None:
        self._find = find

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        source = self._find(template)
        return source.source, str(source.path), lambda: self._find(template) is source


def _explained(template: Template, error: Exception) -> TemplateError:
    if isinstance(error, TemplateError):
        return error
    where = f"template {template.name!r} ({_place(template, error)})"
    match error:
        case SandboxError():
            return TemplateError(f"{where} {error}")
        case jinja2.UndefinedError():
            advice = "Give it a value, or declare it in the front matter with a default."
        case jinja2.TemplateSyntaxError() | jinja2.exceptions.SecurityError() | UnknownName():
            advice = ""
        case RecursionError():
            return TemplateError(f"{where} is nested too deeply, or includes or calls itself.")
        case _:
            return TemplateError(f"{where} failed: {type(error).__name__}: {error}")
    return TemplateError(f"{where}: {str(error).rstrip('.')}. {advice}".rstrip())


def _place(template: Template, error: Exception) -> str:
    """Return file and line of the template's code that raised `error`, as far as known."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename or template.path}:{error.lineno}"
    places = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)  # opens no file
        if frame.f_code.co_filename.endswith(template.path.suffix)
    ]
    return places[-1] if places else str(template.path)
