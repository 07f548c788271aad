"""Calls that the embedded model is made to write, each by the grammar of a random schema.

Each request offers one tool. It counts if there is a call and the arguments of every call parse as
JSON and are valid under the schema as it was written, by jsonschema. Invariant: every schema is
asked once, and none is left out, also those with a keyword that no grammar enforces.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import anyio

from vanta import Engine, Tool, VantaError
from vanta.models import ModelStore, default_root
from vanta.tools import read_arguments

from ..local.engine import MODEL, answer, engine_on, request
from ..report import Figure, Settings
from .random_schemas import random_tool_schema

SCHEMAS, SCHEMAS_QUICK = 200, 4
TOKENS = 160
TOGETHER = 4
NAME = "valid calls: forced calls of the embedded model that parse and validate"


def figures(settings: Settings) -> list[Figure]:
    """Return the share of valid calls; without the model's file, the reason."""
    try:
        path = ModelStore(default_root()).find(MODEL).path
    except VantaError as error:
        return [_figure(None, str(error))]
    return anyio.run(_measured, settings, path)


async def _measured(settings: Settings, path: Path) -> list[Figure]:
    dice = random.Random(1)  # noqa: S311 - every run is asked the same schemas
    count = settings.times(SCHEMAS, SCHEMAS_QUICK)
    tools = [Tool(f"tool_{n}", "Does it.", random_tool_schema(dice)) for n in range(count)]
    problems: list[str] = []
    limiter = anyio.CapacityLimiter(TOGETHER)

    async def call(engine: Engine, number: int) -> None:
        async with limiter:
            problem = await _problem(engine, tools[number])
        settings.progress("tools: valid calls", number, count)
        if problem:
            problems.append(f"schema {number}: {problem}")

    async with engine_on(path, parallel=TOGETHER) as engine, anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(call, engine, number)
    note = "; ".join(sorted(problems)[:3]) or f"{count} random schemas, at most {TOKENS} tokens"
    return [_figure(100 * (count - len(problems)) / count, note)]


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


def _figure(value: float | None, note: str) -> Figure:
    return Figure(name=NAME, value=value, unit="%", better="higher", goal=100.0, note=note)
