"""`vanta templates`: what prompt templates there are, what they say, what they cost, what is wrong.

Invariant: nothing is written but by `new`, which never replaces a file; an engine is loaded only
where its tokens are asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output, tables
from vanta.cli.ground import Ground, ground
from vanta.cli.templates.checks import GIVEN, problems, wanted

if TYPE_CHECKING:
    from vanta.cli.templates.costs import Costs
    from vanta.prompts import Template, Templates, Variable

app = typer.Typer(help="List, show, render, make and check prompt templates.", no_args_is_help=True)

_STARTS = {
    True: """---
description: {description}
# variables:
#   tone:
#     type: string
#     default: calm
#     description: How it speaks
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
    description: What this is about
---
{{{{ text }}}}
""",
}

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help='As in "system/short".')]


@app.command("list")
def list_templates(json: output.JsonOption = False, config: output.ConfigOption = None) -> None:
    """List the templates, where they lie, and which files they hide.

    Searched in this order: yours, the project's, those of plugins, vanta's own; partials (whose
    name begins with `_`) are left out of the table. --json: a list of objects with name,
    description, tags, path, place, partial, hides, variables, track, policy, sampling, in_use and
    problem (why it cannot be used, or null).
    """
    here = ground(config)
    templates, places = _templates(here)
    found = [_about(templates, name, places, here) for name in templates.files]
    if json:
        output.print_json(found)
        return
    shown = [each for each in found if not each["partial"]]
    tables.show(("template", "what it does", "from", "needs"), [_row(each) for each in shown])
    for each in found:
        for path in each["hides"]:
            tables.line(f"{each['name']} of {each['path']} hides {path}")
    for each in found:
        if each["problem"]:
            tables.line(f"broken: {each['problem']}")


@app.command()
def show(
    name: NameArgument, json: output.JsonOption = False, config: output.ConfigOption = None
) -> None:
    """Show a template: its variables, its settings, what it is made of, and its text.

    --json: what `list` tells of it, with parts (names of what it includes and extends) and body.
    """
    here = ground(config)
    templates, places = _templates(here)
    template = templates.get(name)
    about = {
        **_about(templates, name, places, here),
        "parts": [part.name for part in templates.parts(name)[1:]],
        "body": template.body,
    }
    if json:
        output.print_json(about)
        return
    for line in _facts(about):
        tables.line(line)
    if about["variables"]:
        print()
        tables.show(
            ("variable", "type", "default", "what it is"), map(_variable, about["variables"])
        )
    print()
    print(output.harmless(template.body.strip("\n")))


@app.command()
def render(
    name: NameArgument,
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", "-v", metavar="KEY=VALUE", help="A variable; may be repeated."),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option("--track", "-t", metavar="NAME", help="Count in the tokens of this track."),
    ] = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Render a template, as a session would, and tell what each part of it costs.

    A variable is read as its declared type; lists and mappings are written as JSON. System prompts
    get the configured variables, too. --track loads that track's engine to count with. --json: an
    object with name, text and costs (null without --track, else track, model, tokens, around, exact
    and parts: objects with kind, name, characters and tokens).
    """
    import anyio

    from vanta.cli.templates.costs import costs

    here = ground(config)
    templates, _ = _templates(here)
    values = _values(templates, name, variable or [], here)
    text = templates.render(name, values)
    counted = anyio.run(costs, here, track, templates.pieces(name, values)) if track else None
    if json:
        told = dataclasses.asdict(counted) if counted else None
        output.print_json({"name": name, "text": text, "costs": told})
        return
    print(output.harmless(text))
    if counted:
        _show_costs(counted)


@app.command()
def new(
    name: NameArgument,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="Begin with a copy of this template."),
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="In the project's folder instead of yours.")
    ] = False,
    config: output.ConfigOption = None,
) -> None:
    """Make a template to edit, and say where it is and how it is used."""
    from vanta.errors import TemplateError
    from vanta.prompts.templates import place_for
    from vanta.runtime import template_folders

    here = ground(config)
    templates, _ = _templates(here)
    folder = template_folders(here.loaded).get("project" if project else "user")
    if folder is None:
        raise TemplateError("the configuration is no file, so no project belongs to it.")
    path = place_for(name, folder)
    if path is None:
        raise TemplateError(f"{name!r} cannot name a template. Choose one as in 'system/pirate'.")
    hidden = templates.files.get(name, ())
    text = _copy(templates, start) if start else _STARTS[name.startswith("system/")]
    _write(path, text if start else text.format(description=f"What {name} is for."))
    output.stdout().print(str(path), soft_wrap=True, markup=False)
    if hidden:
        output.say(f"it goes before {hidden[0]}")
    if name.startswith("system/"):
        output.say(f'use it: system = "{name.removeprefix("system/")}" in vanta.toml')


@app.command()
def check(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|PATH...", help="Templates or files; all where none is named."),
    ] = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Check front matter, syntax, variables and settings of templates.

    Ends in 2 if something is wrong. --json: an object with ok, checked (how many) and problems
    (objects with template and problem).
    """
    here = ground(config)
    known, _ = _templates(here)
    chosen = list(wanted(what or [], known))
    found = list(
        dict.fromkeys(
            (name, problem)
            for name, templates in chosen
            for problem in problems(name, templates, here)
        )
    )
    if json:
        told = [{"template": name, "problem": problem} for name, problem in found]
        output.print_json({"ok": not found, "checked": len(chosen), "problems": told})
    else:
        for problem in dict.fromkeys(problem for _, problem in found):
            tables.line(problem)
        noun = "template" if len(chosen) == 1 else "templates"
        output.say(f"{len(chosen)} {noun} checked, {len(found)} problems")
    if found:
        raise typer.Exit(output.ExitCode.USAGE)


def _templates(here: Ground) -> tuple[Templates, Mapping[Path, str]]:
    """The templates, and what each folder of theirs is."""
    from vanta.resources import templates_dir
    from vanta.runtime import prompt_templates, template_folders

    own = {folder: place for place, folder in template_folders(here.loaded).items()}
    plugins = dict.fromkeys(here.plugins.template_dirs, "plugin")
    return prompt_templates(here.loaded, here.plugins), {
        templates_dir(): "vanta",
        **plugins,
        **own,
    }


def _about(
    templates: Templates, name: str, places: Mapping[Path, str], here: Ground
) -> dict[str, Any]:
    """A template as JSON-ready data; a broken one, too."""
    from vanta.errors import VantaError
    from vanta.prompts.templates import is_partial

    path, *hidden = templates.files[name]
    about = {
        "name": name,
        "path": str(path),
        "place": next((said for folder, said in places.items() if folder in path.parents), ""),
        "partial": is_partial(name),
        "hides": [str(each) for each in hidden],
        "in_use": name == f"system/{here.config.system}",
    }
    try:
        template, variables = templates.get(name), templates.variables(name)
    except VantaError as error:
        return {**about, **_told(None, {}), "problem": str(error)}
    return {**about, **_told(template, variables), "problem": None}


def _told(template: Template | None, variables: Mapping[str, Variable]) -> dict[str, Any]:
    defaults = template.defaults if template else None
    sampling = dataclasses.asdict(defaults.sampling) if defaults else {}
    return {
        "description": template.description if template else "",
        "tags": list(template.tags) if template else [],
        "track": defaults.track if defaults else None,
        "policy": defaults.policy if defaults else None,
        "sampling": {key: value for key, value in sampling.items() if value not in (None, (), {})},
        "variables": [dataclasses.asdict(each) for each in variables.values()],
    }


def _row(about: Mapping[str, Any]) -> tuple[Any, ...]:
    name = f"{about['name']} (in use)" if about["in_use"] else about["name"]
    needs = [each["name"] for each in about["variables"] if each["required"]]
    described = (
        about["description"] if about["problem"] is None else tables.mark(False, ("", "broken", ""))
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


def _values(templates: Templates, name: str, given: Iterable[str], here: Ground) -> dict[str, Any]:
    from vanta.cli.templates.values import values_of

    system = name.startswith("system/")
    usual = {**GIVEN, **here.config.variables} if system else {}
    known = templates.variables(name)
    others = {*usual, *templates.undeclared(name)}
    return {**usual, **values_of(given, templates.get(name), known, others)}


def _show_costs(counted: Costs) -> None:
    about = "" if counted.exact else "about "
    print()
    tables.show(
        ("part", ">characters", ">tokens", ">share"),
        [
            *(
                (
                    f"{part.kind} {part.name}",
                    str(part.characters),
                    f"{part.tokens}",
                    f"{part.tokens / counted.tokens:.0%}" if counted.tokens else "",
                )
                for part in sorted(counted.parts, key=lambda each: -each.tokens)
            ),
            (
                "the chat format around it",
                "",
                str(counted.around),
                f"{counted.around / counted.tokens:.0%}" if counted.tokens else "",
            ),
        ],
    )
    tables.line(f"{about}{counted.tokens} tokens in all on track {counted.track} ({counted.model})")


def _copy(templates: Templates, name: str) -> str:
    return templates.get(name).path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    from vanta.errors import TemplateError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise TemplateError(f"{path} is there already. Edit it, or choose another name.") from None
