"""Renders one template in the sandbox and says in our words what went wrong.

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
from vanta.prompts.limits import RenderLimits
from vanta.prompts.meter import Exceeded, Meter, current
from vanta.prompts.sandbox import PromptEnvironment


class Renderer:
    """Renders templates that `find` knows by name."""

    def __init__(
        self,
        find: Callable[[str], Template],
        limits: RenderLimits,
        environment: Callable[[jinja2.BaseLoader], PromptEnvironment] = PromptEnvironment,
    ) -> None:
        self._find = find
        self._limits = limits
        self._environment = environment(_Loader(find))
        self._references: dict[Path, tuple[Template, tuple[str, ...]]] = {}

    def variables(self, template: Template) -> Mapping[str, Variable]:
        """What rendering `template` takes. Where two files declare one name, the outer one's word
        counts."""
        found: dict[str, Variable] = {}
        for part in self.parts(template):
            found = {**part.variables, **found}
        return found

    def parts(self, template: Template) -> tuple[Template, ...]:
        """`template` and all that it includes, extends or imports by a constant name."""
        found = [template]
        for part in found:
            known = {each.name for each in found}
            names = dict.fromkeys(self._referenced(part))
            found += [self._part(template, name) for name in names if name not in known]
        return tuple(found)

    def parse(self, template: Template) -> jinja2.nodes.Template:
        """The syntax tree of `template`. Raises TemplateError."""
        try:
            return self._environment.parse(template.source, template.name, str(template.path))
        except (jinja2.TemplateSyntaxError, RecursionError) as error:
            raise _explained(template, error) from error

    def compile(self, template: Template) -> None:
        """Compile `template` ahead of its first render. Raises TemplateError."""
        self.variables(template)
        token = current.set(Meter(self._limits))
        try:
            self._environment.get_template(template.name)
        except Exception as error:
            raise _explained(template, error) from error
        finally:
            current.reset(token)

    def render(self, template: Template, values: Mapping[str, Any]) -> str:
        """The text of `template` under `values`, without empty lines around it."""
        token = current.set(Meter(self._limits))
        try:
            return self._collect(template, values)
        except Exception as error:  # a template can raise anything: {{ 1 / 0 }}
            raise _explained(template, error) from error
        finally:
            current.reset(token)

    def _collect(self, template: Template, values: Mapping[str, Any]) -> str:
        chunks, length = [], 0
        for chunk in self._environment.get_template(template.name).generate(values):
            length += len(chunk)
            current.get().allow(length)
            chunks.append(chunk)
        return "".join(chunks).strip("\n")

    def _referenced(self, template: Template) -> tuple[str, ...]:
        """The names of what `template` includes, extends or imports, where they are constants."""
        known = self._references.get(template.path)
        if known is None or known[0] is not template:
            found = find_referenced_templates(self.parse(template))
            names = tuple(name for name in found if name)
            known = self._references[template.path] = (template, names)
        return known[1]

    def _part(self, template: Template, name: str) -> Template:
        try:
            return self._find(name)
        except UnknownName as error:
            problem = f"template {template.name!r} ({template.path}) includes what is not there"
            raise TemplateError(f"{problem}: {error}") from error


class _Loader(jinja2.BaseLoader):
    """Gives Jinja what `find` finds; a template that was found anew is compiled anew."""

    def __init__(self, find: Callable[[str], Template]) -> None:
        self._find = find

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        found = self._find(template)
        return found.source, str(found.path), lambda: self._find(template) is found


def _explained(template: Template, error: Exception) -> TemplateError:
    if isinstance(error, TemplateError):
        return error
    where = f"template {template.name!r} ({_place(template, error)})"
    match error:
        case Exceeded():
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
    """File and line of the template's code that raised `error`, as far as it is known."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename or template.path}:{error.lineno}"
    places = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)  # opens no file
        if frame.f_code.co_filename.endswith(template.path.suffix)
    ]
    return places[-1] if places else str(template.path)
