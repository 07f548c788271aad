"""The promises of privacy, for each policy and each fault: every leak is counted.

A private track is an HTTP server on loopback that redirects, fails with an echo of the prompt, is
cut or stalls; beside it are an api track, a remote embedder, and a server that a redirect, a proxy
of the environment or OPENAI_BASE_URL would lead to. All record every byte that they receive.
Invariant: each private text has a word that stands nowhere else, so that a search for it finds
every leak, plain or in base64.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import vanta
from vanta import Engine, GenerationRequest, Message, Sampling, VantaError
from vanta.memory import Embedder, EmbedderContext, EmbedderFactory, NewItem, Scope, Selection
from vanta.models import ModelStore, default_root
from vanta.scheduling import BUILTIN
from vanta.testing import Behaviour, HashEmbedder, Upstream

from ..local.engine import MODEL, WORDS, answer, engine_on
from ..report import Figure, Settings, median

PROMISES = {
    "server": "private text received by a server that is not private",
    "words": "private text in errors, events and records",
    "removed": "text sent after another process had removed it",
    "bytes": "forgotten text in files",
    "lowered": "text made public without a word",
}
ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL")
REDIRECTS = (301, 302, 303, 307, 308)
QUICK_POLICIES = ("race", "prefer", "cascade")
SAME_WITHIN = 1.15
"""How much slower the first content of a wrong guess may be than that of a right one."""


def figures(settings: Settings) -> Iterator[Figure]:
    """Count the leaks of the matrix, then measure what a cached prefix shows."""
    yield from anyio.run(_matrix, settings)
    yield from anyio.run(_prefixes, settings)


@dataclass(slots=True)
class _Leaks:
    """Leaks by promise, with the cells of the matrix in which they were found."""

    counts: Counter[str] = field(default_factory=Counter)
    cells: dict[str, list[str]] = field(default_factory=dict)

    def note(self, promise: str, cell: str, *, leaked: bool) -> None:
        self.counts[promise] += leaked
        if leaked:
            self.cells.setdefault(promise, []).append(cell)


class _Plugin:
    """The remote embedder, and an observer of every event."""

    def __init__(self) -> None:
        self.embedder = HashEmbedder()
        self.embedder.private = False  # as if it sent texts away; `texts` has them
        self.events: list[vanta.Event] = []

    @vanta.hookimpl
    def vanta_embedders(self) -> tuple[EmbedderFactory, ...]:
        from vanta.testing.hashing import HashOptions

        return (EmbedderFactory("remote", "hashed words", HashOptions, self._create),)

    @vanta.hookimpl
    def vanta_observers(self, config: Any) -> tuple[Any, ...]:
        return (self.events.append,)

    def _create(self, _options: Any, _context: EmbedderContext) -> Embedder:
        return self.embedder


def _faults(word: str, elsewhere: str) -> dict[str, Behaviour]:
    """Return what the private server does, by name. word: of the private text that it echoes."""
    echo = f"My {word} is secret."
    code = base64.b64encode(echo.encode()).decode()
    redirects = {
        f"redirect {status}": Behaviour.failure(status, "moved").but(
            headers={"location": f"{elsewhere}/chat/completions"}
        )
        for status in REDIRECTS
    }
    return {
        "none": Behaviour.answer("I see."),
        **redirects,
        "echo": Behaviour.failure(500, f"cannot answer {json.dumps(echo)}"),
        "echo in base64": Behaviour.failure(400, f"cannot answer {code}"),
        "echo in the stream": Behaviour.error_frame(2, message=f"lost at {echo}"),
        "overflow": Behaviour.failure(
            400,
            f"maximum context length is 4096 tokens, for {echo}",
            code="context_length_exceeded",
        ),
        "malformed": Behaviour.malformed(1, ["a ", f"{word} ", "b "]),
        "cut": Behaviour.cut(1),
        "stall": Behaviour.stall(1),
    }


async def _matrix(settings: Settings) -> list[Figure]:
    policies = [item.name for item in BUILTIN if not settings.quick or item.name in QUICK_POLICIES]
    names = list(_faults("", ""))
    leaks, cells = _Leaks(), 0
    for fault in names:
        async with _stage() as stage:
            for policy in policies:
                await _cell(stage, leaks, policy, fault, cells)
                cells += 1
                settings.progress("privacy", cells, len(names) * len(policies))
    return [
        Figure(
            name=name,
            value=leaks.counts[promise],
            unit="leaks",
            goal=0,
            note=f"{cells} cells: {len(policies)} policies x {len(names)} faults of the server. "
            + ", ".join(leaks.cells.get(promise, [])[:5]),
        )
        for promise, name in PROMISES.items()
    ]


@dataclass(slots=True)
class _Stage:
    """The servers and the runtimes of one fault; two runtimes stand for two processes."""

    near: Upstream
    api: Upstream
    elsewhere: Upstream
    plugin: _Plugin
    first: vanta.Runtime
    second: vanta.Runtime
    folder: Path

    def left(self, word: str) -> bool:
        """Return whether a server other than the private one, or the embedder, has a word."""
        received = b"".join((self.api.received, self.elsewhere.received))
        return _is_in(word, received) or any(word in text for text in self.plugin.embedder.texts)


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[_Stage]:
    answers = Behaviour.answer("I see.")
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Upstream(default=answers) as near,
            Upstream(default=answers) as api,
            Upstream(default=answers) as elsewhere,
        ):
            plugin = _Plugin()
            config = _config(Path(folder), near.base_url, api.base_url)
            with _environment(elsewhere.base_url):
                async with (
                    vanta.open(config, plugins=[plugin]) as first,
                    vanta.open(config, plugins=[_Plugin()]) as second,
                ):
                    yield _Stage(near, api, elsewhere, plugin, first, second, Path(folder))


def _config(folder: Path, near: str, api: str) -> dict[str, Any]:
    def track(url: str, *, private: bool) -> dict[str, Any]:
        return {
            "engine": "openai",
            "model": "m",
            "private": private,
            "options": {"base_url": url},
        }

    return {
        "data_dir": str(folder),
        "deadline_s": 30.0,
        "stall_timeout_s": 0.05,
        "retries": 0,
        "breaker": {"failures": 1000},
        "tracks": {"local": track(near, private=True), "api": track(api, private=False)},
        "memory": {"embedder": "remote", "index": "none", "recall_timeout_s": 30.0},
    }


@contextlib.contextmanager
def _environment(url: str) -> Iterator[None]:
    """Point the variables of the environment that lead requests astray to `url`."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(dict.fromkeys(ENVIRONMENT, url))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


async def _cell(stage: _Stage, leaks: _Leaks, policy: str, fault: str, number: int) -> None:
    """Keep each promise once, under a policy and a fault of the private server."""
    cell, user, word = f"{policy} x {fault}", f"user{number}", f"zanzibarquay{number}z"
    stage.plugin.events.clear()
    session = stage.first.session("diary", user=user, private=True)
    # Stored while the server works: what no turn has stored makes no later question private.
    stage.near.always(Behaviour.answer("I see."))
    raised = [await _ask(session, f"My {word} is secret.", policy)]
    stage.near.always(_faults(word, stage.elsewhere.base_url)[fault])
    raised.append(await _ask(session, f"My {word} is secret.", policy))
    raised.append(await _ask(stage.first.session("diary", user=user), f"More of {word}.", policy))
    raised.append(await _ask_by_shown(stage, user, word))
    records = json.dumps(await stage.first.store.records(user=user))
    events = json.dumps([_without_text(event) for event in stage.plugin.events])
    written = "".join((*raised, records, events))
    leaks.note("words", cell, leaked=_is_in(word, written.encode()))
    leaks.note("lowered", cell, leaked=await _lowers(stage, user, word))
    leaks.note("server", cell, leaked=stage.left(word))
    await _removal(stage, leaks, cell, user, word)


async def _ask(session: vanta.Session, text: str, policy: str) -> str:
    """Return the traceback of a turn that failed, "" for an answered one."""
    try:
        await session.ask(text, policy=policy)
    except VantaError as error:
        return "".join(traceback.format_exception(error))
    return ""


async def _ask_by_shown(stage: _Stage, user: str, word: str) -> str:
    """Ask, in a turn that nobody called private, a question that private text may answer."""
    session = stage.first.session("other", user=user)
    try:
        await session.ask(f"What is my {word}?", track="local")
    except VantaError as error:
        return "".join(traceback.format_exception(error))
    return ""


def _without_text(event: vanta.Event) -> dict[str, Any]:
    """Return an event without the conversation itself, which the caller gets by right."""
    data = event.to_dict()
    reply = data.get("reply") or {}
    return {**data, "text": "", "reply": reply.get("trace")}


async def _lowers(stage: _Stage, user: str, word: str) -> bool:
    """Return whether a private document becomes public when it is added again."""
    memory = stage.first.memory
    assert memory is not None
    item = NewItem(user, "document", f"A note of {word}, at length.", 1.0, tags=("file:n",))
    await memory.replace(user, "file:n", [dataclasses.replace(item, private=True)])
    await memory.replace(user, "file:n", [item])
    await memory.replace(user, "file:m", [dataclasses.replace(item, tags=("file:m",))])
    items = await memory.newest(Scope(user))
    return any(word in found.text for found in items)


async def _removal(stage: _Stage, leaks: _Leaks, cell: str, user: str, word: str) -> None:
    """Remove everything in the second runtime, and ask again in the first one."""
    stage.near.always(Behaviour.answer("I see."))
    await _ask(stage.first.session("diary", user=user), "Hello?", "race")
    memory = stage.second.memory
    assert memory is not None
    await memory.forget(Selection(user, everything=True))
    before = len(stage.near.chats)
    await _ask(stage.first.session("diary", user=user), "And now?", "race")
    sent = json.dumps([exchange.body for exchange in stage.near.chats[before:]])
    leaks.note("removed", cell, leaked=_is_in(word, sent.encode()) or not sent.count("And now"))
    data = await anyio.to_thread.run_sync(_all_bytes, stage.folder)
    leaks.note("bytes", cell, leaked=_is_in(word, data))


def _all_bytes(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def _is_in(word: str, data: bytes) -> bool:
    """Return whether a word is in some bytes, plain or as part of a base64 code."""
    lower = data.lower()
    if word.encode() in lower or word[1:-1].encode() in lower:
        return True
    codes = (base64.b64encode(b"x" * shift + word.encode())[4:-4] for shift in range(3))
    return any(code in data for code in codes)


async def _prefixes(settings: Settings) -> list[Figure]:
    try:
        path = ModelStore(default_root()).find(MODEL).path
    except VantaError as error:
        names = ("cached tokens of a right guess beyond a wrong one", "wrong guess over right one")
        return [
            Figure(name=name, value=None, unit=unit, goal=0, note=f"no model: {error}")
            for name, unit in zip(names, ("tokens", "x"), strict=True)
        ]
    return await prefix_figures(path, settings)


async def prefix_figures(path: Path, settings: Settings) -> list[Figure]:
    """Measure what the time and the counts of a user's guess show of another user's prompt.

    :param path: the file of a model.
    :param settings: the settings of the run.
    """
    rounds = settings.times(20, 4)
    guesses: dict[bool, list[tuple[int, float]]] = {True: [], False: []}
    own: dict[str, list[float]] = {"user": [], "": []}
    async with engine_on(path, parallel=4) as engine:
        await engine.load()
        for number in range(rounds):
            await _measured(engine, _prompt(number), scope=f"victim {number}")
            for right in (True, False) if number % 2 else (False, True):
                text = _prompt(number) if right else _prompt(-number - 1)
                scope = f"attacker {number} {right}"
                guesses[right].append(await _measured(engine, text, scope=scope))
            for scope in ("user", "") if number % 2 else ("", "user"):
                text = _prompt(1000 + number)
                await _measured(engine, text, scope=scope and f"{scope} {number}")
                again = f"{text} And again?"
                own[scope].append(
                    (await _measured(engine, again, scope=scope and f"{scope} {number}"))[1]
                )
            settings.progress("prefixes", number + 1, rounds)
    extra = max(r[0] for r in guesses[True]) - min(w[0] for w in guesses[False])
    right_s, wrong_s = (median([time_s for _, time_s in guesses[key]]) for key in (True, False))
    scoped_s, plain_s = median(own["user"]), median(own[""])
    return [
        Figure(
            name="cached tokens of a right guess beyond a wrong one",
            value=extra,
            unit="tokens",
            goal=0,
            note=f"{rounds} rounds; each user has a scope, as in a turn",
        ),
        Figure(
            name="wrong guess over right one, first content",
            value=(wrong_s or 0.0) / (right_s or 1.0),
            unit="x",
            goal=SAME_WITHIN,
            note=f"medians: {1e3 * (wrong_s or 0):.1f} ms and {1e3 * (right_s or 0):.1f} ms",
        ),
        Figure(
            name="a user's own later turn with a scope, over one without",
            value=(scoped_s or 0.0) / (plain_s or 1.0),
            unit="x",
            goal=SAME_WITHIN,
            note="first content, medians of the same run; the prefix of the first turn is reused",
        ),
    ]


def _prompt(number: int) -> str:
    return f"Note {number} of my diary: " + " ".join(
        f"{word}{number}" for word in WORDS.split() * 4
    )


async def _measured(engine: Engine, text: str, *, scope: str) -> tuple[int, float]:
    """Return the cached tokens of a request, and the seconds until its first content."""
    system = Message("system", "You are a careful assistant. " * 8)
    request = GenerationRequest(
        (system, Message("user", text)),
        Sampling(temperature=0.0, max_tokens=2),
        scope=scope,
        common=1,
    )
    times: list[float] = []
    began = time.perf_counter()
    completion = await answer(engine, request, times)
    cached = completion.usage.cached_input_tokens if completion.usage else 0
    return cached, times[0] - began
