"""Token counts of a model: tiktoken's if its ranks are on disk, otherwise a calibrated estimate.

tiktoken downloads the ranks of an encoding on first use, without a timeout, and deletes a cached
file whose hash is wrong. To prevent both, its recipe of an encoding runs here with a loader that
only reads files, verifies the sha256 that the recipe names, and raises `RanksNotFoundError` if no
file passes. Invariant: no network, no file written or removed, and tiktoken sees only verified
bytes. No long text is counted on the event loop. A count is called exact only for what OpenAI
documents: plain messages in the model's own encoding.

`encoding_of` blocks, and tiktoken holds the interpreter's lock for most of that time: half a second
for a large encoding, once per process, when an engine loads.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import hashlib
import importlib
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread

from vanta import GenerationRequest, Message, TokenCount, install_hint
from vanta.context import Calibration
from vanta.files import read_file
from vanta.learning import Learnt
from vanta_openai.vision import images_tokens

if TYPE_CHECKING:
    from tiktoken import Encoding

Recipe = Callable[[], dict[str, Any]]

PER_MESSAGE = 3
PER_REPLY = 3
"""Tokens around a message and before the reply ("How to count tokens with tiktoken", OpenAI)."""

PER_CALL = 8
"""Approximate tokens around a tool call; OpenAI documents no number."""

UNDOCUMENTED = frozenset({"o200k_harmony"})
"""Encodings whose chat format takes more tokens than the documented one."""

INLINE_CHARACTERS = 4_000
"""Up to this length, counting takes less time than switching to a thread."""

_LOADERS = ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks")

CALIBRATION_S = 24 * 3600.0
"""Seconds after which the estimate begins anew, so that no wrong count stays for good."""

T = TypeVar("T")


class RanksNotFoundError(Exception):
    """The model's encoding is not on disk; the message says why and where it was searched."""


class TokenCounter:
    """Counts the tokens of one model.

    :param encoding: the model's own; None counts by an estimate.
    :param clock: returns seconds; what was learnt expires by it.
    :param model: the model's name, for the estimate.
    """

    def __init__(
        self,
        encoding: Encoding | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        model: str = "",
    ) -> None:
        self._encoding = encoding
        self._clock = clock
        self._fresh_at = clock()
        self._model = model
        self._calibration = Calibration(model)
        self._samples: deque[tuple[tuple[Message, ...], int]] = deque(maxlen=16)

    @property
    def name(self) -> str:
        """What counts, as in `Engine.counter`."""
        return f"tiktoken {self._encoding.name}" if self._encoding else self._calibration.name

    async def count(self, messages: Sequence[Message]) -> TokenCount:
        """Return the tokens of a prompt."""
        length = sum(len(message.content) for message in messages)
        return await self._off_the_loop(length, lambda: self._count_prompt(messages))

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Return the tokens of each text on its own."""
        length = sum(map(len, texts))
        return await self._off_the_loop(length, lambda: [self._count_text(text) for text in texts])

    def learnt(self) -> Sequence[Learnt]:
        """Return the state of the estimate, if a server's counts have changed it."""
        if self._encoding is not None or not self._calibration.samples:
            return ()
        left_s = self._fresh_at + CALIBRATION_S - self._clock()
        return (Learnt("", "estimate", f"tokens are counted by: {self.name}", max(0.0, left_s)),)

    def forget(self) -> None:
        """Forget what servers have counted."""
        self._samples.clear()
        self._calibration, self._fresh_at = Calibration(self._model), self._clock()

    def note(self, request: GenerationRequest, tokens: int) -> None:
        """Record that a server counted `tokens` in a request, to calibrate the next estimate.

        Requests with more than messages in them are ignored: their count says nothing about these.
        """
        has_more = request.tools or request.prefix or request.sampling.json_schema is not None
        if self._encoding is None and not has_more:
            self._samples.append((request.messages, tokens))

    async def _off_the_loop(self, length: int, work: Callable[[], T]) -> T:
        if length <= INLINE_CHARACTERS and not self._samples:
            return work()
        # Abandoned if the caller is cancelled: a count of megabytes would outlast its deadline.
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _calibrate(self) -> None:
        if self._clock() - self._fresh_at > CALIBRATION_S:
            self.forget()
        with contextlib.suppress(IndexError):  # another thread may take the last sample
            while self._samples:
                self._calibration.learn(*self._samples.popleft())

    def _count_prompt(self, messages: Sequence[Message]) -> TokenCount:
        shown = [image for message in messages for image in message.images]
        images = images_tokens(self._model, shown)
        if self._encoding is None:
            self._calibrate()
            count = self._calibration.count(messages).value - sum(item.tokens for item in shown)
            return TokenCount(count + images, exact=False)
        calls = [call for message in messages for call in message.tool_calls]
        call_texts = [text for call in calls for text in (call.id, call.name, call.arguments)]
        texts = [message.content for message in messages]
        result_ids = [message.tool_call_id or "" for message in messages]
        tokens = sum(_encoded(self._encoding, text) for text in [*texts, *call_texts, *result_ids])
        tokens += PER_MESSAGE * len(messages) + PER_CALL * len(calls) + PER_REPLY + images
        plain = not (images or calls or any(result_ids)) and self._encoding.name not in UNDOCUMENTED
        return TokenCount(tokens, exact=plain)

    def _count_text(self, text: str) -> TokenCount:
        if self._encoding is None:
            self._calibrate()
            return TokenCount(self._calibration.count_text(text), exact=False)
        return TokenCount(_encoded(self._encoding, text), exact=True)


_MOST_RANK_BYTES = 1 << 26


def _encoded(encoding: Encoding, text: str) -> int:
    return len(encoding.encode_ordinary(text)) if text else 0


def encoding_of(
    model: str, folder: Path | None = None, recipes: Mapping[str, Recipe] | None = None
) -> Encoding:
    """Return the encoding of an OpenAI model. Blocking.

    folder: a directory to search first. recipes: used in place of tiktoken's own. Raises
    RanksNotFoundError.
    """
    try:
        importlib.import_module("tiktoken")
        bare_name = model.removeprefix("openai/")  # routers put the provider first
        name = importlib.import_module("tiktoken.model").encoding_name_for_model(bare_name)
        public = importlib.import_module("tiktoken_ext.openai_public")
    except ImportError as error:
        advice = install_hint("tiktoken")
        raise RanksNotFoundError(f"tiktoken is not installed ({error}): {advice}") from None
    except KeyError:
        raise RanksNotFoundError(f"tiktoken does not know a model {model!r}") from None
    known = public.ENCODING_CONSTRUCTORS if recipes is None else recipes
    if name not in known:
        raise RanksNotFoundError(f"tiktoken does not know an encoding {name!r}")
    if recipes is None:
        return _build_shared(known[name], folder)
    return _build(known[name], folder)


def _build(recipe: Recipe, folder: Path | None) -> Encoding:
    from_disk = _with_loader(recipe, functools.partial(_read_ranks, folder))
    encoding: Encoding = importlib.import_module("tiktoken").Encoding(**from_disk())
    return encoding


@functools.lru_cache(maxsize=4)
def _build_shared(recipe: Recipe, folder: Path | None) -> Encoding:
    """Build one of tiktoken's own encodings once; all engines share it."""
    return _build(recipe, folder)


def _with_loader(recipe: Recipe, read: Callable[..., dict[bytes, int]]) -> Recipe:
    """Return `recipe` with `read` in place of tiktoken's loaders, in recipes that it calls, too."""
    if not isinstance(recipe, FunctionType):
        raise RanksNotFoundError(f"the recipe {recipe!r} of an encoding is not a plain function")
    names = dict(recipe.__globals__)
    for name in recipe.__code__.co_names:
        inner = names.get(name)
        if name in _LOADERS:
            names[name] = read
        elif isinstance(inner, FunctionType) and inner.__globals__ is recipe.__globals__:
            names[name] = _with_loader(inner, read)
    return FunctionType(recipe.__code__, names, recipe.__name__)


def _read_ranks(
    folder: Path | None, url: str = "", expected_hash: str | None = None, **_other: Any
) -> dict[bytes, int]:
    """Return the ranks that `url` would give, from the first file with their sha256."""
    if not url or expected_hash is None:
        raise RanksNotFoundError(
            "the encoding is of an old kind, or has no hash to verify a file with"
        )
    names = (url.rpartition("/")[2], hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    refused: list[str] = []
    for path in _candidate_files(folder, names):
        try:
            data = read_file(path, _MOST_RANK_BYTES)
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest() == expected_hash:
            return _parse_ranks(data, path)
        refused.append(str(path))
    detail = f"; with another sha256: {', '.join(refused)}" if refused else ""
    raise RanksNotFoundError(
        f"no file {names[0]} on disk{detail}. Put it into a directory and name that with the "
        "option 'tiktoken_dir' or in TIKTOKEN_CACHE_DIR"
    )


def _candidate_files(folder: Path | None, names: tuple[str, str]) -> Iterator[Path]:
    """Yield where a rank file may be, under its own name or tiktoken's name for its cache."""
    variables = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")
    configured = [Path(os.environ[name]) for name in variables if os.environ.get(name)]
    default = Path(tempfile.gettempdir()) / "data-gym-cache"
    for parent in ([folder] if folder else []) + [*configured, default]:
        yield from (parent.expanduser() / name for name in names)
    yield from _installed_files(names, tuple(sys.path))


@functools.lru_cache(maxsize=8)
def _installed_files(names: tuple[str, str], _search_path: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the files of these names that installed distributions contain.

    Searching their lists as text first is ten times as fast as parsing each line.
    """
    records = [(item, item.read_text("RECORD") or "") for item in metadata.distributions()]
    return tuple(
        Path(str(distribution.locate_file(file)))
        for distribution, record in records
        if any(name in record for name in names)
        for file in distribution.files or ()
        if file.name in names
    )


def _parse_ranks(data: bytes, path: Path) -> dict[bytes, int]:
    """Parse lines of a token in base64, a space and its rank."""
    try:
        pairs = (line.split() for line in data.splitlines() if line)
        return {base64.b64decode(token): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error) as error:
        raise RanksNotFoundError(f"{path} is not a file of ranks: {error}") from error
