"""Calls and typed answers that the embedded model writes, each by the grammar of a random schema.

Each request offers one tool, or asks for an answer of the schema's type. A call counts if there is
one and the arguments of every call parse as JSON and are valid under the schema as it was written,
by jsonschema; an answer counts if its value is read and is valid likewise. Invariant: every schema
is asked once for each, and none is left out, also those with a keyword that no grammar enforces.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import anyio

from vanta import Engine, Tool, VantaError
from vanta.models import ModelStore, default_root
from vanta.runtime.turns.typed import OutputForm
from vanta.scheduling.typed_answers import WrongAnswer
from vanta.tools import read_arguments

from ..local.engine import MODEL, answer, engine_on, request
from ..report import Figure, Settings
from .random_schemas import random_tool_schema

SCHEMAS, SCHEMAS_QUICK = 200, 4
TOKENS = 160
TOGETHER = 4
CALLS = "valid calls: forced calls of the embedded model that parse and validate"
ANSWERS = "typed answers: answers of the embedded model that parse and validate"


def figures(settings: Settings) -> list[Figure]:
    """Return the shares of valid calls and answers; without the model's file, the reason."""
    try:
        path = ModelStore(default_root()).find(MODEL).path
    except VantaError as error:
        return [_figure(name, None, str(error)) for name in (CALLS, ANSWERS)]
    return anyio.run(_measured, settings, path)


async def _measured(settings: Settings, path: Path) -> list[Figure]:
    dice = random.Random(1)  # noqa: S311 - every run is asked the same schemas
    count = settings.times(SCHEMAS, SCHEMAS_QUICK)
    tools = [Tool(f"tool_{n}", "Does it.", random_tool_schema(dice)) for n in range(count)]
    async with engine_on(path, parallel=TOGETHER) as engine:
        return [
            await _share(CALLS, partial(_problem, engine), tools, settings),
            await _share(ANSWERS, partial(_problem_of_answer, engine), tools, settings),
        ]


async def _share(
    name: str, check: Callable[[Tool], Awaitable[str]], tools: Sequence[Tool], settings: Settings
) -> Figure:
    """Return the share of the schemas for which `check` finds no problem."""
    problems: list[str] = []
    limiter = anyio.CapacityLimiter(TOGETHER)

    async def ask(number: int) -> None:
        async with limiter:
            problem = await check(tools[number])
        settings.progress(f"tools: {name.partition(':')[0]}", number, len(tools))
        if problem:
            problems.append(f"schema {number}: {problem}")

    async with anyio.create_task_group() as group:
        for number in range(len(tools)):
            group.start_soon(ask, number)
    note = "; ".join(sorted(problems)[:3]) or f"{len(tools)} schemas, at most {TOKENS} tokens"
    return _figure(name, 100 * (len(tools) - len(problems)) / len(tools), note)


async def _problem(engine: Engine, tool: Tool) -> str:
    """Return what is wrong with the calls of `tool` that the model is made to write, or ""."""
    query = request("Do it for Oslo.", tokens=TOKENS)
    query = dataclasses.replace(query, tools=(tool,), tool_choice="required")
    try:
        calls = (await answer(engine, query)).tool_calls
        for item in calls:
            read_arguments(item.arguments, tool.parameters)
    except VantaError as error:
        return str(error)
    return "" if calls else "no call"


async def _problem_of_answer(engine: Engine, tool: Tool) -> str:
    """Return what is wrong with the answer of a schema's type that the model writes, or ""."""
    form = OutputForm(tool.parameters)
    query = request("Do it for Oslo.", tokens=TOKENS)
    sampling = dataclasses.replace(query.sampling, json_schema=form.schema)
    query = dataclasses.replace(query, sampling=sampling, checked=True)
    try:
        form.read((await answer(engine, query)).text)
    except (VantaError, WrongAnswer) as error:
        return str(error)
    return ""


def _figure(name: str, value: float | None, note: str) -> Figure:
    return Figure(name=name, value=value, unit="%", better="higher", goal=100.0, note=note)
