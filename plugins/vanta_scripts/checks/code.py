"""The expectation `python`: a function of the user's own, `module:function`.

It is called with what was seen (`vanta_scripts.Seen`) and says None or True if the reply is right,
a text or False if it is not; it may be async. Invariant: it is imported and, unless it is async,
called in a thread, so that the event loop waits for nothing; the script's folder is where modules
are looked for last.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from pydantic import AfterValidator

from vanta.errors import ScriptError
from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.expectations import excerpt


def _reference(text: str) -> str:
    module, _, name = text.partition(":")
    if not name.isidentifier() or not all(map(str.isidentifier, module.split("."))):
        raise ValueError(f"{text!r} is no function. Write `module:function`")
    return text


_Reference = Annotated[str, AfterValidator(_reference)]


async def _called(reference: str, seen: Seen) -> Failure | None:
    function = await anyio.to_thread.run_sync(_find, reference, seen.source)
    if inspect.iscoroutinefunction(function):
        verdict = await function(seen)
    else:
        verdict = await anyio.to_thread.run_sync(partial(function, seen))
    if verdict is None or verdict is True:
        return None
    came = verdict if isinstance(verdict, str) else f"{verdict!r} for {excerpt(seen.reply.text)}"
    return Failure("python", f"a reply that {reference} accepts", came)


def _find(reference: str, source: str) -> Callable[[Seen], Any]:
    module, _, name = reference.partition(":")
    folder = str(Path(source).resolve().parent)
    if folder not in sys.path and Path(source).is_file():
        sys.path.append(folder)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ScriptError(
            f"{reference!r} cannot be imported: {error}. Modules are looked for where Python does, "
            f"and in {folder!r}."
        ) from error
    if not callable(found):
        raise ScriptError(f"{reference!r} is no function.")
    return found  # type: ignore[no-any-return]


EXPECTATIONS = (
    Expectation("python", "a function of yours: `module:function`", _Reference, _called),
)
