"""`vanta templates`: list, show, render, create and check prompt templates.

Invariant: only `new` writes, and it never replaces a file. An engine is loaded only to count its
tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import Setup, load_setup
from vanta.cli.templates.checks import GIVEN, parse_values, problems, select
from vanta.files import read_text

if TYPE_CHECKING:
    from vanta.cli.templates.costs import Costs
    from vanta.prompts import Template, Templates, Variable

app = typer.Typer(
    help="List, show, render, create and check prompt templates.", no_args_is_help=True
)

_STARTS = {
    True: """---
description: {description}
# variables:
#   tone:
#     type: string
#     default: calm
#     description: The tone of the replies
# sampling:
#   temperature: 0.7
---
{{% extends "system/_base" %}}
{{% block role %}}a helpful assistant{{% endblock %}}
{{% block manner %}}
Answer clearly and directly.
{{%- endblock %}}
""",
    False: """---
description: {description}
variables:
  text:
    type: string
    description: The text to work on
---
{{{{ text }}}}
""",
}

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help='A name such as "system/short".')]


@app.command("list")
def list_templates(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the templates, their folders, and the files that they hide.

    The folders are searched in this order: yours, the project's, those of plugins, vanta's own. The
    table omits partials, whose names begin with `_`. --json: a list of objects with name,
    description, tags, path, place, partial, hides, variables, track, policy, sampling, in_use and
    problem (why it cannot be used, or null).
    """
    setup = load_setup(config)
    templates, places = _templates(setup)
    items = [_about(templates, name, places, setup) for name in templates.files]
    if json:
        output.print_json(items)
        return
    shown = [item for item in items if not item["partial"]]
    output.print_table(
        ("template", "what it does", "from", "needs"), [_row(item) for item in shown]
    )
    for item in items:
        for path in item["hides"]:
            output.print_line(f"{item['name']} of {item['path']} hides {path}")
    for item in items:
        if item["problem"]:
            output.print_line(f"broken: {item['problem']}")


@app.command()
def show(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show a template: its variables, its settings, its parts, and its text.

    --json: the object of `list`, with parts (the names that it includes and extends) and body.
    """
    setup = load_setup(config)
    templates, places = _templates(setup)
    template = templates.get(name)
    about = {
        **_about(templates, name, places, setup),
        "parts": [part.name for part in templates.parts(name)[1:]],
        "body": template.body,
    }
    if json:
        output.print_json(about)
        return
    for line in _facts(about):
        output.print_line(line)
    if about["variables"]:
        print()
        output.print_table(
            ("variable", "type", "default", "description"), map(_variable, about["variables"])
        )
    print()
    print(output.printable(template.body.strip("\n")))


@app.command()
def render(
    name: NameArgument,
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", "-v", metavar="KEY=VALUE", help="A variable; may be repeated."),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option("--track", "-t", metavar="NAME", help="Count tokens as this track does."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Render a template as a session would, and count the tokens of each part.

    A variable is read as its declared type; lists and mappings are written as JSON. System prompts
    also get the configured variables. --track loads that track's engine to count. --json: an
    object with name, text and costs (null without --track, else track, model, tokens, around, exact
    and parts: objects with kind, name, characters and tokens).
    """
    import anyio

    from vanta.cli.templates.costs import count_costs

    setup = load_setup(config)
    templates, _ = _templates(setup)
    values = _values(templates, name, variable or [], setup)
    text = templates.render(name, values)
    counted = anyio.run(count_costs, setup, track, templates.spans(name, values)) if track else None
    if json:
        costs_data = dataclasses.asdict(counted) if counted else None
        output.print_json({"name": name, "text": text, "costs": costs_data})
        return
    print(output.printable(text))
    if counted:
        _show_costs(counted)


@app.command()
def new(
    name: NameArgument,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="Start with a copy of this template."),
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Use the project's folder instead of yours.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Create a template to edit, and print its path and how to use it."""
    from vanta.errors import TemplateError
    from vanta.prompts import Templates
    from vanta.runtime import template_folders

    setup = load_setup(config)
    templates, _ = _templates(setup)
    folder = template_folders(setup.loaded).get("project" if project else "user")
    if folder is None:
        raise TemplateError(
            "the configuration is not a file, so it has no project folder. "
            "Name a file with --config, or leave out --project."
        )
    path = Templates.path_in(folder, name)
    if path is None:
        raise TemplateError(
            f"{name!r} is not a valid template name. Choose one such as 'system/pirate'."
        )
    hidden = templates.files.get(name, ())
    text = _copy(templates, start) if start else _STARTS[name.startswith("system/")]
    _write(path, text if start else text.format(description=f"The purpose of {name}."))
    output.stdout().print(str(path), soft_wrap=True, markup=False)
    if hidden:
        output.print_status(f"it hides {hidden[0]}")
    if name.startswith("system/"):
        output.print_status(f'use it: system = "{name.removeprefix("system/")}" in vanta.toml')
    if project:
        output.print_status("to let the project's templates count: vanta trust")


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|PATH...", help="Templates or files; all by default."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check front matter, syntax, variables and settings of templates.

    The exit code is 2 if there is a problem. --json: an object with ok, checked (their number) and
    problems
    (objects with template and problem).
    """
    setup = load_setup(config)
    known, _ = _templates(setup)
    chosen = list(select(names or [], known))
    problem_rows = list(
        dict.fromkeys(
            (name, problem)
            for name, templates in chosen
            for problem in problems(name, templates, setup)
        )
    )
    if json:
        items = [{"template": name, "problem": problem} for name, problem in problem_rows]
        output.print_json({"ok": not problem_rows, "checked": len(chosen), "problems": items})
    else:
        for problem in dict.fromkeys(problem for _, problem in problem_rows):
            output.print_line(problem)
        noun = "template" if len(chosen) == 1 else "templates"
        output.print_status(f"{len(chosen)} {noun} checked, {len(problem_rows)} problems")
    if problem_rows:
        raise typer.Exit(output.ExitCode.USAGE)


def _templates(setup: Setup) -> tuple[Templates, Mapping[Path, str]]:
    """Return the templates, and the kind of each of their folders."""
    from vanta.installation import templates_dir
    from vanta.runtime import prompt_templates, template_folders

    own = {folder: place for place, folder in template_folders(setup.loaded).items()}
    plugins = dict.fromkeys(setup.plugins.template_dirs, "plugin")
    return prompt_templates(setup.loaded, setup.plugins), {
        templates_dir(): "vanta",
        **plugins,
        **own,
    }


def _about(
    templates: Templates, name: str, places: Mapping[Path, str], setup: Setup
) -> dict[str, Any]:
    """Return a template as JSON-ready data, even if it is broken."""
    from vanta.errors import VantaError

    path, *hidden = templates.files[name]
    about = {
        "name": name,
        "path": str(path),
        "place": next((kind for folder, kind in places.items() if folder in path.parents), ""),
        "partial": templates.is_partial(name),
        "hides": [str(file) for file in hidden],
        "in_use": name == f"system/{setup.config.system}",
    }
    try:
        template, variables = templates.get(name), templates.variables(name)
    except VantaError as error:
        return {**about, **_settings(None, {}), "problem": str(error)}
    return {**about, **_settings(template, variables), "problem": None}


def _settings(template: Template | None, variables: Mapping[str, Variable]) -> dict[str, Any]:
    defaults = template.defaults if template else None
    sampling = dataclasses.asdict(defaults.sampling) if defaults else {}
    return {
        "description": template.description if template else "",
        "tags": list(template.tags) if template else [],
        "track": defaults.track if defaults else None,
        "policy": defaults.policy if defaults else None,
        "sampling": {key: value for key, value in sampling.items() if value not in (None, (), {})},
        "variables": [dataclasses.asdict(variable) for variable in variables.values()],
    }


def _row(about: Mapping[str, Any]) -> tuple[Any, ...]:
    name = f"{about['name']} (in use)" if about["in_use"] else about["name"]
    needs = [variable["name"] for variable in about["variables"] if variable["required"]]
    described = (
        about["description"]
        if about["problem"] is None
        else output.status_cell(False, ("", "broken", ""))
    )
    return (name, described, about["place"], ", ".join(needs))


def _facts(about: Mapping[str, Any]) -> Iterator[str]:
    yield f"{about['name']}: {about['description'] or 'no description'}"
    yield f"file: {about['path']}"
    for path in about["hides"]:
        yield f"hides: {path}"
    for key in ("tags", "parts"):
        if about[key]:
            yield f"{key}: {', '.join(about[key])}"
    for key in ("track", "policy"):
        if about[key]:
            yield f"{key}: {about[key]}"
    if about["sampling"]:
        yield "sampling: " + ", ".join(f"{key} {value}" for key, value in about["sampling"].items())


def _variable(about: Mapping[str, Any]) -> tuple[str, str, str, str]:
    default = "needed" if about["required"] else repr(about["default"])
    return about["name"], about["type"] or "any", default, about["description"]


def _values(templates: Templates, name: str, given: Iterable[str], setup: Setup) -> dict[str, Any]:
    system = name.startswith("system/")
    usual = {**GIVEN, **setup.config.variables} if system else {}
    known = templates.variables(name)
    others = {*usual, *templates.undeclared(name)}
    return {**usual, **parse_values(given, templates.get(name), known, others)}


def _show_costs(counted: Costs) -> None:
    about = "" if counted.exact else "about "
    print()
    output.print_table(
        ("part", ">characters", ">tokens", ">share"),
        [
            *(
                (
                    f"{part.kind} {part.name}",
                    str(part.characters),
                    f"{part.tokens}",
                    f"{part.tokens / counted.tokens:.0%}" if counted.tokens else "",
                )
                for part in sorted(counted.parts, key=lambda part: -part.tokens)
            ),
            (
                "the chat format around it",
                "",
                str(counted.around),
                f"{counted.around / counted.tokens:.0%}" if counted.tokens else "",
            ),
        ],
    )
    output.print_line(
        f"{about}{counted.tokens} tokens in all on track {counted.track} ({counted.model})"
    )


def _copy(templates: Templates, name: str) -> str:
    return read_text(templates.get(name).path, templates.limits.characters, "utf-8")


def _write(path: Path, text: str) -> None:
    from vanta.errors import TemplateError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise TemplateError(
            f"{str(path)!r} exists already. Edit it, or choose another name."
        ) from None
