"""The page on the server is true: its client works, its table has every field, its flags exist."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import pytest

from tests.docs.pages import blocks, first_column, page, section
from tests.vanta_server.served import served
from vanta.testing import ScriptedEngine
from vanta_server.fields import Extension

PAGE = page("docs/server.md")


def test_the_table_has_every_field_of_a_request() -> None:
    fields = set(Extension.model_fields)
    assert first_column(section(PAGE, "## Which model")) >= fields - {"track"}


def test_its_flags_exist() -> None:
    from vanta_server.commands import serve

    flags = {f"--{name.replace('_', '-')}" for name in serve.__annotations__}
    assert {"--allow-host", "--allow-origin"} <= flags


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_each_client_gets_an_answer(anyio_backend: str, tmp_path: Path) -> None:
    answers = []
    async with served(tmp_path, local=ScriptedEngine("Hello there")) as server:
        for code in blocks(PAGE, "python"):
            names: dict[str, object] = {
                "BASE_URL": f"{server.url}/v1",
                "SERVER_URL": server.url,
            }
            run = compile(code, "docs/server.md", "exec")
            await anyio.to_thread.run_sync(exec, run, names)
            answers.append(names["answer"])
            (client,) = (names[name] for name in ("client", "claude", "home") if name in names)
            client.close()  # type: ignore[attr-defined]
    assert answers == ["Hello there"] * 3
    assert anyio_backend == "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_path_of_the_table_exists(anyio_backend: str, tmp_path: Path) -> None:
    paths = {
        path.replace("NAME", "vanta")
        for row in section(PAGE, "## Paths").splitlines()
        for path in re.findall(r"`(/[\w/]+)`", row.partition(" | ")[0])
    }
    assert len(paths) > 15
    async with served(tmp_path, local=ScriptedEngine("Hello there")) as server:
        for path in sorted(paths):
            found = await server.get(path)
            posted = await server.post([], path)
            assert {found.status_code, posted.status_code} & {200, 400}, path
    assert anyio_backend == "asyncio"
