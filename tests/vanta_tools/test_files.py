"""The tools `files`: what they return, within bounds, and what they change."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from vanta import ToolContext, ToolError, ToolResult, ToolsetContext
from vanta_tools.files import FilesOptions, FilesToolset, create_files, why_files_off


def make(folder: Path, **options: Any) -> FilesToolset:
    return create_files(FilesOptions(**options), ToolsetContext(folder / "data", folder))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def call(folder: Path, tool: str, *, options: Any = None, **arguments: Any) -> ToolResult:
    toolset = make(folder, **{"write": True, **(options or {})})
    return await toolset.call(tool, arguments, ToolContext())


@pytest.mark.anyio
async def test_writing_is_off_until_it_is_on(tmp_path: Path) -> None:
    assert [tool.name for tool in await make(tmp_path).tools()] == ["read", "list", "search"]
    with pytest.raises(ToolError, match="no tool 'write'"):
        await make(tmp_path).call("write", {"path": "a", "text": "b"}, ToolContext())
    tools = {tool.name: tool for tool in await make(tmp_path, write=True).tools()}
    assert {name: tool.effect for name, tool in tools.items()} == {
        "read": "read",
        "list": "read",
        "search": "read",
        "write": "write",
        "edit": "write",
    }
    assert all(tool.private for tool in tools.values())
    assert all(
        tool.parameters["required"][0] == "path" for name, tool in tools.items() if name != "list"
    )


@pytest.mark.anyio
async def test_lines_are_read_with_a_note_on_the_rest(tmp_path: Path) -> None:
    tmp_path.joinpath("a.txt").write_text("one\ntwo\nthree\nfour\n")
    result = await call(tmp_path, "read", path="a.txt", first_line=2, lines=2)
    assert result.text == "two\nthree\n[lines 2 to 3 of 4]"
    assert (result.source, result.private) == ("a.txt", False)
    assert (await call(tmp_path, "read", path="a.txt", first_line=9)).text.endswith("4 lines]")
    assert (await call(tmp_path, "read", path="a.txt", options={"private": True})).private


@pytest.mark.anyio
async def test_a_root_below_the_project_is_the_root(tmp_path: Path) -> None:
    tmp_path.joinpath("docs").mkdir()
    tmp_path.joinpath("docs/a.txt").write_text("docs")
    assert (await call(tmp_path, "read", path="a.txt", options={"root": "docs"})).text == "docs"


@pytest.mark.anyio
async def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    tmp_path.joinpath("a.txt").write_text("12345")
    result = await call(tmp_path, "read", path="a.txt", options={"max_file_bytes": 4})
    assert "larger than 4 bytes" in result.text
    result = await call(tmp_path, "write", path="b", text="12345", options={"max_file_bytes": 4})
    assert result.is_error
    assert not tmp_path.joinpath("b").exists()


@pytest.mark.anyio
async def test_what_is_not_text_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("a.bin").write_bytes(bytes(range(256)))
    result = await call(tmp_path, "read", path="a.bin")
    assert result.is_error
    assert "'a.bin' is not text" in result.text
    tmp_path.joinpath("b.txt").write_bytes("Grüße".encode("latin-1"))
    assert (await call(tmp_path, "read", path="b.txt")).text.startswith("Grüße\n[it is not UTF-8")


@pytest.mark.anyio
async def test_hidden_names_are_an_option(tmp_path: Path) -> None:
    tmp_path.joinpath(".env").write_text("KEY")
    assert (await call(tmp_path, "read", path=".env")).is_error
    assert (await call(tmp_path, "list")).text == "(empty)"
    assert (await call(tmp_path, "read", path=".env", options={"hidden": True})).text == "KEY"
    assert "KEY" not in (await call(tmp_path, "search", path=".", text="KEY")).text


@pytest.mark.anyio
async def test_entries_are_listed_by_pattern_and_depth(tmp_path: Path) -> None:
    tmp_path.joinpath("a/b").mkdir(parents=True)
    for name in ("x.py", "y.md", "a/z.py", "a/b/w.py"):
        tmp_path.joinpath(name).write_text("123")
    assert (await call(tmp_path, "list")).text == "a/\nx.py (3 bytes)\ny.md (3 bytes)"
    deep = await call(tmp_path, "list", pattern="*.py", depth=3)
    assert deep.text == "a/b/w.py (3 bytes)\na/z.py (3 bytes)\nx.py (3 bytes)"
    inner = await call(tmp_path, "list", path="a", pattern="a/**/*.py", depth=3)
    assert inner.text == "a/b/w.py (3 bytes)\na/z.py (3 bytes)"


@pytest.mark.anyio
async def test_a_listing_is_bounded(tmp_path: Path) -> None:
    for number in range(1005):
        tmp_path.joinpath(f"{number:04}").touch()
    lines = (await call(tmp_path, "list")).text.split("\n")
    assert len(lines) == 1001
    assert lines[-1] == "[not complete: there are more than 1000 entries]"


@pytest.mark.anyio
async def test_lines_are_found_literally(tmp_path: Path) -> None:
    tmp_path.joinpath("a.py").write_text("x = (1\n  Y = [a]*\n")
    tmp_path.joinpath("b.md").write_text("y = [A]*\n")
    tmp_path.joinpath("c.bin").write_bytes(b"\0y = [a]*")
    result = await call(tmp_path, "search", path=".", text="y = [a]*")
    assert result.text == "a.py:2: Y = [a]*\nb.md:1: y = [A]*"
    result = await call(tmp_path, "search", path=".", text="Y =", match_case=True, pattern="*.py")
    assert result.text == "a.py:2: Y = [a]*"
    assert (await call(tmp_path, "search", path=".", text="none")).text == "(no line contains it)"


@pytest.mark.anyio
async def test_a_search_is_bounded(tmp_path: Path) -> None:
    tmp_path.joinpath("a").write_text("x\n" * 300)
    lines = (await call(tmp_path, "search", path=".", text="x")).text.split("\n")
    assert len(lines) == 201
    assert "more than 200 matches" in lines[-1]


@pytest.mark.anyio
async def test_a_search_returns_what_it_has_when_the_call_ends(tmp_path: Path) -> None:
    tmp_path.joinpath("a").write_text("x")
    toolset = make(tmp_path)
    context = ToolContext(ends_at=anyio.current_time())
    result = await toolset.call("search", {"path": ".", "text": "x"}, context)
    assert "not complete: the time was up" in result.text


@pytest.mark.anyio
async def test_a_file_is_created_once_and_replaced_on_request(tmp_path: Path) -> None:
    result = await call(tmp_path, "write", path="new/deep/a.txt", text="höhe")
    assert result.text == "Created 'new/deep/a.txt' (5 bytes)."
    path = tmp_path / "new/deep/a.txt"
    path.chmod(0o640)
    again = await call(tmp_path, "write", path="new/deep/a.txt", text="two")
    assert again.is_error
    assert "exists already" in again.text
    assert path.read_text() == "höhe"
    replaced = await call(tmp_path, "write", path="new/deep/a.txt", text="two", overwrite=True)
    assert replaced.text.startswith("Replaced")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o640)
    assert names(path.parent) == ["a.txt"]


@pytest.mark.anyio
async def test_a_passage_is_replaced_if_it_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one two\r\ntwo")
    missing = await call(tmp_path, "edit", path="a.txt", old="three", new="x")
    assert missing.is_error
    twice = await call(tmp_path, "edit", path="a.txt", old="two", new="x")
    assert "2 times" in twice.text
    assert path.read_bytes() == b"one two\r\ntwo"
    await call(tmp_path, "edit", path="a.txt", old="one two", new="1")
    assert path.read_bytes() == b"1\r\ntwo"
    path.write_text("a a")
    assert (
        "2 place" in (await call(tmp_path, "edit", path="a.txt", old="a", new="b", every=True)).text
    )
    assert path.read_text() == "b b"


@pytest.mark.anyio
async def test_edits_at_once_all_arrive(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"<{number}>" for number in range(20)))
    toolset = make(tmp_path, write=True)

    async def edit(number: int) -> None:
        arguments = {"path": "a.txt", "old": f"<{number}>", "new": f"({number})"}
        assert not (await toolset.call("edit", arguments, ToolContext())).is_error

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(edit, number)
    assert path.read_text() == "".join(f"({number})" for number in range(20))


@pytest.mark.anyio
async def test_creating_at_once_succeeds_once(tmp_path: Path) -> None:
    results = []

    async def write(number: int) -> None:
        arguments = {"path": "a.txt", "text": str(number)}
        toolset = make(tmp_path, write=True)
        results.append(await toolset.call("write", arguments, ToolContext()))

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(write, number)
    assert [result.is_error for result in results].count(False) == 1
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.anyio
async def test_a_file_is_created_where_the_file_system_has_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert not (await call(tmp_path, "write", path="a.txt", text="one")).is_error
    assert (await call(tmp_path, "write", path="a.txt", text="two")).is_error
    assert tmp_path.joinpath("a.txt").read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.anyio
async def test_lines_are_numbered_as_editors_do(tmp_path: Path) -> None:
    tmp_path.joinpath("a.txt").write_bytes("a\x0cb\u2028c\r\nd\x1ce\n\nf".encode())
    result = await call(tmp_path, "read", path="a.txt", first_line=2, lines=1)
    assert result.text == "d\ufffde\n[lines 2 to 2 of 4]"
    found = await call(tmp_path, "search", path=".", text="f")
    assert found.text == "a.txt:4: f"


@pytest.mark.anyio
async def test_a_cancelled_write_is_whole_or_not_there(tmp_path: Path) -> None:
    for number in range(20):
        with anyio.move_on_after(0.0005 * number):
            await call(tmp_path, "write", path="a.txt", text="x" * 100_000, overwrite=True)
        assert names(tmp_path) in ([], ["a.txt"])
        if names(tmp_path):
            assert tmp_path.joinpath("a.txt").read_text() == "x" * 100_000
    await call(tmp_path, "write", path="a.txt", text="x" * 100_000, overwrite=True)
    assert tmp_path.joinpath("a.txt").read_text() == "x" * 100_000


@pytest.mark.anyio
async def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    result = await call(tmp_path, "read", path="a", line=3)
    assert result.is_error
    assert "'line'" in result.text
    assert (await call(tmp_path, "read", path="a", first_line=0)).is_error


@pytest.mark.anyio
async def test_a_search_ends_at_a_depth(tmp_path: Path) -> None:
    tmp_path.joinpath("a").write_text("x")
    deep = tmp_path.joinpath(*["d"] * 20)
    deep.mkdir(parents=True)
    deep.joinpath("f").write_text("x")
    assert (await call(tmp_path, "search", path=".", text="x")).text == "a:1: x"


def test_the_toolset_is_off_without_its_folder(tmp_path: Path) -> None:
    assert why_files_off(FilesOptions()) is None
    assert why_files_off(FilesOptions(root=str(tmp_path))) is None
    assert "not a folder" in (why_files_off(FilesOptions(root=str(tmp_path / "none"))) or "")
