"""tiktoken's ranks, from files on disk alone.

tiktoken fetches the ranks of an encoding when it is first used, without a timeout, and deletes a
cached file whose hash is wrong. It gets no chance to: its recipe of an encoding runs here with a
loader of ours, which reads a file only, checks its sha256 against the one that the recipe names,
and raises `NoRanks` where no file passes. Invariant: no network, no file written or removed, and
tiktoken sees no byte that was not checked. Blocking, and tiktoken holds the interpreter's lock for
most of it: half a second for a large encoding, once a process, when an engine is loaded.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiktoken import Encoding

Recipes = Mapping[str, Callable[[], dict[str, Any]]]
_LOADERS = ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks")


class NoRanks(Exception):  # noqa: N818 - a state of the machine, which the estimate makes up for
    """The model's encoding cannot be had from disk; the text says why and where was looked."""


def encoding_of(model: str, folder: Path | None = None, recipes: Recipes | None = None) -> Encoding:
    """The encoding of an OpenAI model. folder: a directory to look in first. recipes: in place of
    tiktoken's own. Raises NoRanks."""
    try:
        importlib.import_module("tiktoken")
        name = importlib.import_module("tiktoken.model").encoding_name_for_model(_bare(model))
        importlib.import_module("tiktoken_ext.openai_public")
    except ImportError as error:
        advice = "pip install 'vanta[tiktoken]'"
        raise NoRanks(f"tiktoken is not installed ({error}): {advice}") from None
    except KeyError:
        raise NoRanks(f"tiktoken knows no model {model!r}") from None
    if recipes is None:
        return _own(name, folder)
    return _built(name, recipes, folder)


@functools.lru_cache(maxsize=4)
def _own(name: str, folder: Path | None) -> Encoding:
    """One of tiktoken's own encodings, the same object for all engines."""
    public = importlib.import_module("tiktoken_ext.openai_public")
    return _built(name, public.ENCODING_CONSTRUCTORS, folder)


def _built(name: str, recipes: Recipes, folder: Path | None) -> Encoding:
    if name not in recipes:
        raise NoRanks(f"tiktoken knows no encoding {name!r}")
    recipe = _from_disk(recipes[name], functools.partial(_read, folder))
    encoding: Encoding = importlib.import_module("tiktoken").Encoding(**recipe())
    return encoding


def _bare(model: str) -> str:
    """The name without the provider that routers put before it."""
    return model.removeprefix("openai/")


def _from_disk(
    recipe: Callable[[], dict[str, Any]], read: Callable[..., dict[bytes, int]]
) -> Callable[[], dict[str, Any]]:
    """`recipe` with our loader where it calls tiktoken's; recipes that it calls likewise."""
    if not isinstance(recipe, FunctionType):
        raise NoRanks(f"the recipe {recipe!r} of an encoding is no plain function")
    names = dict(recipe.__globals__)
    for name in recipe.__code__.co_names:
        inner = names.get(name)
        if name in _LOADERS:
            names[name] = read
        elif isinstance(inner, FunctionType) and inner.__globals__ is recipe.__globals__:
            names[name] = _from_disk(inner, read)
    return FunctionType(recipe.__code__, names, recipe.__name__)


def _read(
    folder: Path | None, url: str = "", expected_hash: str | None = None, **_other: Any
) -> dict[bytes, int]:
    """The ranks that `url` would give, from the first file with their sha256."""
    if not url or expected_hash is None:
        raise NoRanks("the encoding is of an old kind, or has no hash to check a file against")
    names = (url.rpartition("/")[2], hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    wrong: list[str] = []
    for path in _places(folder, names):
        data = _bytes_of(path)
        if data is None:
            continue
        if hashlib.sha256(data).hexdigest() == expected_hash:
            return _parsed(data, path)
        wrong.append(str(path))
    refused = f"; of another sha256: {', '.join(wrong)}" if wrong else ""
    raise NoRanks(
        f"no file {names[0]} on disk{refused}. Put it into a directory and name that with the "
        "option 'tiktoken_dir' or in TIKTOKEN_CACHE_DIR"
    )


def _places(folder: Path | None, names: tuple[str, str]) -> Iterator[Path]:
    """Where a file of ranks may lie: under its own name, or under tiktoken's name for its cache."""
    variables = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")
    named = [Path(os.environ[name]) for name in variables if os.environ.get(name)]
    default = Path(tempfile.gettempdir()) / "data-gym-cache"
    for place in ([folder] if folder else []) + [*named, default]:
        yield from (place.expanduser() / name for name in names)
    yield from _installed(names)


@functools.cache
def _installed(names: tuple[str, str]) -> tuple[Path, ...]:
    """The files of these names that installed distributions brought. Their lists are searched as
    text first, which is ten times quicker than reading each line."""
    listed = [(one, one.read_text("RECORD") or "") for one in metadata.distributions()]
    return tuple(
        Path(str(distribution.locate_file(file)))
        for distribution, record in listed
        if any(name in record for name in names)
        for file in distribution.files or ()
        if file.name in names
    )


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _parsed(data: bytes, path: Path) -> dict[bytes, int]:
    """Lines of a token in base64, a space and its rank."""
    try:
        pairs = (line.split() for line in data.splitlines() if line)
        return {base64.b64decode(token): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error) as error:
        raise NoRanks(f"{path} is no file of ranks: {error}") from error
