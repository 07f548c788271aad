"""The runtime of this folder's scripts: a local engine with a few canned replies, and no api.

Like a model, it tells the notes that memory adds from the message after them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vanta
from vanta.api import Opening
from vanta.engine import GenerationRequest
from vanta.errors import ErrorKind
from vanta.testing import CallTool, Fail, ScriptedEngine, Step, hash_plugin, scripted_plugin

_coin = itertools.cycle(["heads", "tails"])
_REPLIES: dict[str, list[Step | str]] = {
    "What is the capital of France?": ["The capital of France is Paris."],
    "Count to five.": ["one two three four five"],
    "Paris, as JSON.": ['{"city": "Paris", "population": 2100000}'],
    "Break down.": [Fail(ErrorKind.AUTH)],
    "Break down in the middle.": ["It began", Fail(ErrorKind.AUTH)],
    "Refuse to answer.": ["I'm sorry, I cannot help with that."],
    "What is the weather in Paris?": [CallTool("get_weather", '{"city": "Paris", "days": 1}')],
}
_NOTES_END = "</notes>\n\n"


def opening(folder: Path, **more: Any) -> Callable[[], Opening]:
    """Return a function that opens a runtime on the data in `folder`; more: configuration."""
    config = {
        "data_dir": str(folder),
        "policy": "local",
        "stall_timeout_s": 1.0,
        "retries": 0,
        **more,
        "memory": {"embedder": "hash"},
        "tracks": {
            "local": {"engine": "scripted", "model": "knows-a-little", "private": True},
            "api": {
                "engine": "openai",
                "model": "stand-in",
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 100.0,
            },
        },
    }

    def open_() -> Opening:
        plugin = scripted_plugin(local=ScriptedEngine(reply=_reply))
        return vanta.open(config, plugins=[plugin, hash_plugin()])

    return open_


def _reply(request: GenerationRequest) -> list[Step | str]:
    notes, _, message = request.messages[-1].content.rpartition(_NOTES_END)
    if message.endswith("Yes or no?"):
        return ["yes" if "name Paris" in message else "no"]
    if message in _REPLIES:
        return _REPLIES[message]
    if message in _LOOKUPS:
        return [_LOOKUPS[message](request, notes)]
    return ["Nice to meet you."] if message.startswith("My name is") else [f"You said: {message}"]


def _cat(_request: GenerationRequest, notes: str) -> str:
    match = re.search(r"cat is called (\w+)", notes)
    return f"Your cat is called {match[1]}." if match else "Nothing, I am afraid."


def _name(request: GenerationRequest, _notes: str) -> str:
    for message in reversed(request.messages):
        text = message.content.rpartition(_NOTES_END)[2]
        match = re.match(r"My name is (\w+)", text)
        if match:
            return f"Your name is {match[1]}."
    return "I do not know your name."


_LOOKUPS: dict[str, Callable[[GenerationRequest, str], str]] = {
    "What is my name?": _name,
    "Who are you?": lambda request, _notes: request.messages[0].content,
    "Toss a coin.": lambda _request, _notes: next(_coin),
    "What do you remember of my cat?": _cat,
    "What do your notes say of the cat?": lambda _request, notes: notes or "There are none.",
}
