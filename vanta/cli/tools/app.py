"""`vanta tools`: list, show, check and call tools.

Invariant: only `call` runs a tool, and it runs one call. The call is the person's own: no rule of
`[tools]` applies to it. With `--json` stdout carries one document and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption, UserOption
from vanta.cli.setup import Setup, load_setup

if TYPE_CHECKING:
    from vanta.tool_contract import ToolResult, ToolsetFactory
    from vanta.tools import OfferedTool, ToolRegistry

T = TypeVar("T")

app = typer.Typer(help="List, show, check and call tools.", no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help='A toolset, or a tool such as "files.read".')
]


@app.command("list")
def list_tools(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the toolsets, on or off, and the tools of those that are on.

    A toolset is on if `tools.use` names it. --json: a list of objects with name, summary, plugin,
    on, reason (why it is off) and tools: objects with name (as models see it), tool, effect,
    private, untrusted, description and reason (why it is not offered, "" if it is).
    """
    setup = load_setup(config)
    listed = _with_registry(setup, setup.toolsets_in_use, _describe(setup))
    if json:
        output.print_json(listed)
        return
    output.print_table(("toolset, tool", "", "what it does, or why it is off"), _rows(listed))
    if not listed:
        output.print_status("No plugin provides a toolset; `vanta plugins list` shows the plugins.")


@app.command()
def show(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one tool with its schema, or one toolset with its options.

    A toolset that is off is shown, too. --json: for a tool an object with its fields, toolset and
    name; for a toolset an object with name, summary, plugin, on, reason, options and tools.
    """
    setup = load_setup(config)
    toolset = name if name in setup.plugins.toolsets else name.partition(".")[0]
    use = [*setup.toolsets_in_use, *([toolset] if toolset in setup.plugins.toolsets else [])]
    if name in setup.plugins.toolsets:
        listed = _with_registry(setup, use, _describe(setup))
        (found,) = [item for item in listed if item["name"] == name]
        found["on"] = name in setup.toolsets_in_use and found["on"]
        _show({**found, "options": _options(setup.plugins.toolsets[name])}, json=json)
        return

    async def find(registry: ToolRegistry, _off: Mapping[str, str]) -> dict[str, Any]:
        offered = await _find(registry, name)
        return {"name": offered.name, "toolset": offered.toolset, **_fields(offered)}

    _show(_with_registry(setup, use, find), json=json)


@app.command()
def check(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check that every toolset of `tools.use` opens and that its tools keep the contract.

    The exit code is 1 if a toolset or a tool is off. --json: an object with toolsets (name to the
    number of tools that are offered) and off (name to the reason).
    """
    setup = load_setup(config)

    async def checked(registry: ToolRegistry, off: Mapping[str, str]) -> dict[str, Any]:
        offered = await registry.offered()
        counts = dict.fromkeys(setup.toolsets_in_use, 0)
        for item in offered:
            counts[item.toolset] += 1
        return {"toolsets": counts, "off": {**off, **registry.off}}

    found = _with_registry(setup, setup.toolsets_in_use, checked)
    if json:
        output.print_json(found)
    else:
        _show_check(found)
    if found["off"]:
        raise typer.Exit(output.ExitCode.FAILED)


@app.command()
def call(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help='The tool, such as "calculator.calculate".')
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JSON | KEY=VALUE]...",
            help="Its arguments: a JSON object, or a word for each.",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Refuse a tool whose calls leave this machine.")
    ] = False,
    user: UserOption = "default",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run one call of a tool and print its result.

    The toolset must be in `tools.use`. The call is yours: no rule applies, and nothing is stored.
    The exit code is 1 if the call fails. --json: an object with text, data, is_error, source and
    private.
    """
    setup = load_setup(config)

    async def run(registry: ToolRegistry, _off: Mapping[str, str]) -> ToolResult:
        offered = await _find(registry, name)
        return await _call(registry, offered, arguments or [], user, setup, private=private)

    result = _with_registry(setup, setup.toolsets_in_use, run)
    if json:
        output.print_json(dataclasses.asdict(result))
    elif result.is_error:
        output.print_status(result.text, style="none")
    else:
        output.print_line(result.text)
    if result.is_error:
        raise typer.Exit(output.ExitCode.FAILED)


def _with_registry(
    setup: Setup,
    use: Sequence[str],
    work: Callable[[ToolRegistry, Mapping[str, str]], Awaitable[T]],
) -> T:
    """Open toolsets, do some work with them, and close them again."""
    import anyio

    from vanta.tools import ToolRegistry, open_toolsets

    toolsets, off = open_toolsets(
        use,
        setup.plugins.toolsets,
        setup.config.tools.options,
        data_dir=setup.config.data_dir,
        project=Path.cwd(),
        hint=setup.plugins.library_hint,
    )

    async def main() -> T:
        registry = ToolRegistry(toolsets)
        try:
            return await work(registry, off)
        finally:
            await registry.aclose()

    return anyio.run(main)


async def _call(
    registry: ToolRegistry,
    offered: OfferedTool,
    words: Sequence[str],
    user: str,
    setup: Setup,
    *,
    private: bool,
) -> ToolResult:
    import anyio

    from vanta.errors import UsageError
    from vanta.tool_contract import ToolContext
    from vanta.tools import read_arguments

    if private and not offered.tool.private:
        raise UsageError(
            f"calls of {offered.identity!r} leave this machine, so it cannot run with --private"
        )
    return await registry.call(
        offered,
        read_arguments(_arguments(words, offered.tool.parameters), offered.tool.parameters),
        ToolContext(
            user=user,
            call_id="1",
            idempotency_key=uuid.uuid4().hex,
            private=private,
            ends_at=anyio.current_time() + setup.config.deadline_s,
        ),
    )


def _arguments(words: Sequence[str], schema: Mapping[str, Any]) -> str:
    """Return the arguments of a call as JSON text.

    :param words: one JSON object, or words KEY=VALUE. A value is text where the schema has a
        string, otherwise JSON if it is valid JSON.
    :param schema: the schema of the tool's parameters.
    """
    import json

    if not words or (len(words) == 1 and words[0].lstrip()[:1] in ("", "{", "[")):
        return "".join(words)
    pairs = dict(_pair(word) for word in words)
    properties = schema.get("properties", {})
    values: dict[str, Any] = {}
    for key, text in pairs.items():
        values[key] = text
        if properties.get(key, {}).get("type") != "string":
            with contextlib.suppress(ValueError):
                values[key] = json.loads(text)
    return json.dumps(values)


def _pair(word: str) -> tuple[str, str]:
    from vanta.errors import UsageError

    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(
            f"{word!r} is not an argument. Write KEY=VALUE for each, or one JSON object."
        )
    return key, value


async def _find(registry: ToolRegistry, name: str) -> OfferedTool:
    """Return the tool of a name: as models see it, or `TOOLSET.TOOL`.

    :raises UsageError: if it is not offered; the message has the reason.
    """
    from vanta.errors import UsageError, did_you_mean

    offered = await registry.offered()
    for item in offered:
        if name in (item.name, item.identity):
            return item
    for off, reason in registry.off.items():
        if name == off or name.startswith(f"{off}."):
            raise UsageError(f"{off!r} is off: {reason}")
    known = [item.identity for item in offered]
    raise UsageError(
        f"no tool is named {name!r}. {did_you_mean(name, known)} "
        "Only toolsets that `tools.use` names are on: `vanta tools list` shows them."
    )


def _describe(
    setup: Setup,
) -> Callable[[ToolRegistry, Mapping[str, str]], Awaitable[list[dict[str, Any]]]]:
    """Return a function that describes every toolset that a plugin provides."""

    async def described(registry: ToolRegistry, off: Mapping[str, str]) -> list[dict[str, Any]]:
        offered = await registry.offered()
        reasons = {**off, **registry.off}
        return [
            {
                "name": name,
                "summary": factory.summary,
                "plugin": setup.plugins.toolsets.origin(name),
                "on": name in registry.toolsets and name not in reasons,
                "reason": reasons.get(name)
                or ("" if name in registry.toolsets else "tools.use does not name it"),
                "tools": _tools_of(name, offered, reasons),
            }
            for name, factory in setup.plugins.toolsets.items()
        ]

    return described


def _tools_of(
    toolset: str, offered: Sequence[OfferedTool], reasons: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Describe the tools of a toolset, those last that are not offered."""
    broken = [
        {"name": None, "tool": name.partition(".")[2], "reason": reason}
        for name, reason in reasons.items()
        if name.startswith(f"{toolset}.")
    ]
    keys = ("effect", "private", "untrusted", "description")
    return [
        {
            "name": item.name,
            "tool": item.tool.name,
            **{key: getattr(item.tool, key) for key in keys},
            "reason": "",
        }
        for item in offered
        if item.toolset == toolset
    ] + broken


def _fields(offered: OfferedTool) -> dict[str, Any]:
    fields = {
        field.name: getattr(offered.tool, field.name) for field in dataclasses.fields(offered.tool)
    }
    return {**fields, "name": offered.name, "tool": offered.tool.name}


def _options(factory: ToolsetFactory) -> dict[str, Any]:
    """Return the options of a toolset: name to description, type and default."""
    return {
        name: {
            "type": str(field.annotation).removeprefix("<class '").removesuffix("'>"),
            "default": None
            if field.is_required()
            else field.get_default(call_default_factory=True),
            "required": field.is_required(),
            "description": field.description or "",
        }
        for name, field in factory.options.model_fields.items()
    }


def _rows(listed: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for toolset in listed:
        state = True if toolset["on"] else None
        rows.append(
            (
                toolset["name"],
                output.status_cell(state, ("on", "", "off")),
                f"{toolset['summary']} ({toolset['reason']})"
                if toolset["reason"]
                else toolset["summary"],
            )
        )
        for tool in toolset["tools"]:
            about = tool["reason"] or _about(tool)
            rows.append((f"  {tool['name'] or tool['tool']}", "", about))
    return rows


def _about(tool: Mapping[str, Any]) -> str:
    """Return `reads, private: Return the weather.`"""
    words = {"read": "reads", "idempotent": "may be repeated", "write": "writes"}
    marks = [words[tool["effect"]]]
    marks += [mark for mark in ("private", "untrusted") if tool[mark]]
    return f"{', '.join(marks)}: {tool['description'].strip().splitlines()[0][:200]}"


def _show(fields: Mapping[str, Any], *, json: bool) -> None:
    """Print the fields of a tool or a toolset."""
    import json as json_format

    if json:
        output.print_json(fields)
        return
    for key, value in fields.items():
        text = (
            json_format.dumps(value, indent=2, ensure_ascii=False, default=str)
            if isinstance(value, dict | list)
            else str(value)
        )
        if value not in (None, "", [], {}):
            output.print_line(f"{key}: {text}")


def _show_check(found: Mapping[str, Any]) -> None:
    for name, count in found["toolsets"].items():
        if name not in found["off"]:
            output.print_line(f"ok: {name}: {count} {'tool' if count == 1 else 'tools'}")
    for name, reason in found["off"].items():
        output.print_line(f"off: {name}: {reason}")
    if not found["toolsets"]:
        output.print_status("tools.use names no toolset; `vanta tools list` shows which there are.")
