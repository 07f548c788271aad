"""The tools `files` neither read nor write anything outside their folder, whatever a path says."""

from __future__ import annotations

import ctypes
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.vanta_tools.corpus import OUTSIDE_PATHS
from vanta import ToolContext, ToolResult, ToolsetContext
from vanta_tools.files import FilesOptions, create_files

SECRET = "the secret outside"
ROUNDS = 80


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with every kind of way out, beside a secret."""
    tmp_path.joinpath("secret.txt").write_text(SECRET)
    tmp_path.joinpath("outside").mkdir()
    tmp_path.joinpath("outside/secret.txt").write_text(SECRET)
    root = tmp_path / "root"
    for folder in ("docs/.hidden", ".git"):
        root.joinpath(folder).mkdir(parents=True)
    root.joinpath("readme.txt").write_text("read me")
    root.joinpath("docs/guide.md").write_text("a guide")
    root.joinpath(".git/config").write_text("config")
    root.joinpath(".env").write_text("KEY=1")
    links = {
        "link-to-secret": "../secret.txt",
        "link-to-inside": "readme.txt",
        "link-to-folder": "../outside",
        "link-to-root": "/",
        "link-to-itself": "link-to-itself",
        "link-to-nothing": "../made.txt",
        "link-to-proc": "/proc/self",
        "docs/link-up": "../..",
        "docs/link-back": ".",
        "link-to-null": "/dev/null",
        "link-to-fd": "/dev/fd/0",
    }
    for name, target in links.items():
        root.joinpath(name).symlink_to(target)
    root.joinpath("hard-link").hardlink_to(tmp_path / "secret.txt")
    tmp_path.joinpath("second").write_text("guide")
    root.joinpath("docs/hard-link-to-guide").hardlink_to(tmp_path / "second")
    os.mkfifo(root / "pipe")
    for name, minor in (("null-device", 3), ("zero-device", 5)):
        with suppress(PermissionError):  # only root makes devices
            os.mknod(root / name, 0o666 | 0o020000, os.makedev(1, minor))
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(root)  # the path of a socket is short
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)
        yield root


def digest(folder: Path, skip: Path) -> str:
    """Return what identifies everything under a folder but `skip`."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if skip not in (path, *path.parents):
            content = path.read_bytes() if path.is_file() else b""
            found.update(os.fsencode(path) + content + str(path.lstat().st_mode).encode())
    return found.hexdigest()


async def call(root: Path, tool: str, options: dict[str, Any], **arguments: Any) -> ToolResult:
    made = FilesOptions(root=str(root), write=True, **options)
    toolset = create_files(made, ToolsetContext(root / "data", root))
    return await toolset.call(tool, arguments, ToolContext())


def test_the_corpus_is_large() -> None:
    assert len(set(OUTSIDE_PATHS)) == len(OUTSIDE_PATHS) >= 60


@pytest.mark.anyio
@pytest.mark.one_loop
@pytest.mark.parametrize("path", OUTSIDE_PATHS, ids=ascii)
async def test_nothing_outside_is_read(root: Path, path: str) -> None:
    for options in ({}, {"hidden": True}) if not path.startswith((".", "docs/.h")) else ({},):
        result = await call(root, "read", options, path=path)
        assert result.is_error
        assert SECRET not in result.text


@pytest.mark.anyio
@pytest.mark.one_loop
@pytest.mark.parametrize("path", OUTSIDE_PATHS, ids=ascii)
async def test_nothing_outside_is_listed_or_searched(root: Path, path: str) -> None:
    for tool, arguments in (("list", {"depth": 3}), ("search", {"text": "secret outside"})):
        result = await call(root, tool, {}, path=path, **arguments)
        assert "outside" not in result.text.replace(path, "")
        assert SECRET not in result.text


@pytest.mark.anyio
@pytest.mark.one_loop
@pytest.mark.parametrize("path", OUTSIDE_PATHS, ids=ascii)
async def test_nothing_outside_is_written_or_edited(root: Path, path: str) -> None:
    before = digest(root.parent, root)
    for tool, arguments in (
        ("write", {"text": "new"}),
        ("write", {"text": "new", "overwrite": True}),
        ("edit", {"old": "secret", "new": "public"}),
        ("edit", {"old": "e", "new": "public", "every": True}),
    ):
        await call(root, tool, {}, path=path, **arguments)
    assert digest(root.parent, root) == before
    assert root.joinpath("readme.txt").read_text() == "read me"
    assert root.joinpath("docs/guide.md").read_text() == "a guide"
    assert root.joinpath("link-to-inside").is_symlink()
    assert root.joinpath("link-to-nothing").is_symlink()
    assert root.joinpath("pipe").is_fifo()


@pytest.mark.anyio
async def test_with_hard_links_allowed_a_write_replaces_the_name_and_not_the_file(
    root: Path,
) -> None:
    options = {"hard_links": True}
    assert (await call(root, "read", options, path="hard-link")).text == SECRET
    result = await call(root, "write", options, path="hard-link", text="new", overwrite=True)
    assert not result.is_error
    assert root.parent.joinpath("secret.txt").read_text() == SECRET


@contextmanager
def swapping(swap: Callable[[], None]) -> Iterator[None]:
    """Swap in a thread for as long as the context lasts, as fast as it can."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            swap()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def exchanging(first: Path, second: Path) -> Callable[[], None]:
    """Return a swap of two names in one step of the kernel."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        pytest.skip("this system does not exchange two names in one step")
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE

    def swap() -> None:
        rename(here, os.fsencode(first), here, os.fsencode(second), exchange)

    return swap


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_a_folder_that_becomes_a_link_leads_nowhere(root: Path) -> None:
    inside, link = root / "work", root / "other"
    inside.mkdir()
    inside.joinpath("secret.txt").write_text("inside")
    link.symlink_to("../outside")
    before = digest(root.parent, root)
    texts = set()
    with swapping(exchanging(inside, link)):
        for number in range(ROUNDS):
            texts.add((await call(root, "read", {}, path="work/secret.txt")).text)
            await call(root, "write", {}, path=f"work/new-{number}.txt", text="new")
            await call(root, "edit", {}, path="work/secret.txt", old="inside", new="inside")
            found = await call(root, "search", {}, path="work", text="the secret outside")
            assert "secret.txt" not in found.text
    assert SECRET not in texts
    assert digest(root.parent, root) == before


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_a_file_that_becomes_a_link_or_a_hard_link_leads_nowhere(root: Path) -> None:
    plain, link = root / "file", root / "trap"
    for kind in ("symbolic", "hard"):
        plain.write_text("inside")
        if kind == "symbolic":
            link.symlink_to("../secret.txt")
        else:
            link.hardlink_to(root.parent / "secret.txt")
        texts = set()
        with swapping(exchanging(plain, link)):
            for _ in range(ROUNDS):
                texts.add((await call(root, "read", {}, path="file")).text)
                await call(root, "write", {}, path="file", text="inside", overwrite=True)
                await call(root, "edit", {}, path="file", old="secret", new="public")
        assert SECRET not in texts
        assert root.parent.joinpath("secret.txt").read_text() == SECRET
        plain.unlink(missing_ok=True)
        link.unlink(missing_ok=True)


@pytest.mark.anyio
async def test_a_pipe_does_not_block(root: Path) -> None:
    for tool, arguments in (("read", {}), ("edit", {"old": "a", "new": "b"})):
        assert (await call(root, tool, {}, path="pipe", **arguments)).is_error


@pytest.mark.anyio
async def test_listing_names_links_but_not_what_they_lead_to(root: Path) -> None:
    result = await call(root, "list", {}, path=".", depth=5)
    lines = result.text.split("\n")
    assert "link-to-folder (link)" in lines
    assert "pipe (other)" in lines
    assert not any(line.startswith(("link-to-folder/", "link-to-root/", ".")) for line in lines)
