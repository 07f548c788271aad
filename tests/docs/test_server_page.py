"""The page on the server is true: its client works, its table has every field, its flags exist."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.docs.pages import block, first_column, page, section
from tests.vanta_server.served import served
from vanta.testing import ScriptedEngine
from vanta_server.openai.requests import Extension

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
async def test_its_client_gets_an_answer(anyio_backend: str, tmp_path: Path) -> None:
    code = compile(block(PAGE, "python"), "docs/server.md", "exec")
    names: dict[str, object] = {}
    async with served(tmp_path, local=ScriptedEngine("Hello there")) as server:
        names["BASE_URL"] = f"{server.url}/v1"
        await anyio.to_thread.run_sync(exec, code, names)
    assert names["answer"] == "Hello there"
    assert anyio_backend == "asyncio"
