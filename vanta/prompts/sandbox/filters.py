"""Metered filters, functions and text methods: the supply that allow-lists choose from.

Each means what it means to Jinja, or to Hugging Face's chat templates where they differ
(transformers, `utils/chat_template_utils.py`). Invariant: no call takes longer than its arguments
and its result have bytes, but for a small factor, because a call of C cannot be interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from jinja2.filters import FILTERS

from vanta.prompts.sandbox.contract import SandboxError
from vanta.prompts.sandbox.meter import PIECE_BYTES, bounded_number, drawn, joined, meter, text_of

LONGEST_ARGUMENT = 256 * 1024
"""Characters of an argument beside a list, which may be used once for every item."""
LONGEST_SEARCH = 1 << 28
WIDEST = 64
MOST_DIGITS = 15
_SPLITS = frozenset({"partition", "rpartition", "rsplit", "split", "splitlines"})
_QUADRATIC = frozenset({"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"})


def call_text_method(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method of a text, charging first where the result may be much larger."""
    text, name = str(method.__self__), method.__name__
    if name == "replace":
        return _replace(text, *args, **kwargs)
    if name == "join":
        return joined(text, drawn(*args, **kwargs))
    if name in _QUADRATIC:
        _check_search(text, *args)
    if name in _SPLITS:
        meter().charge(_most_pieces(text, *args, **kwargs) * PIECE_BYTES)
        meter().charge(sys.getsizeof(text))
    return method(*args, **kwargs)


def _check_search(text: str, searched: Any = "", *_where: object) -> None:
    """Python's searches from the right, and its strips, take the product of both lengths."""
    if isinstance(searched, str) and len(text) * len(searched) > LONGEST_SEARCH:
        raise SandboxError("searches a very long text for another")


def _most_pieces(text: str, sep: Any = None, _most: object = -1, **_options: object) -> int:
    """Return an upper bound of the pieces that `text` splits into."""
    if isinstance(sep, str):
        return text.count(sep) + 1
    return sum(map(str.isspace, text)) + 1


def _trim(value: Any, chars: str | None = None) -> str:
    text = text_of(value)
    _check_search(text, chars)
    return text.strip(chars)


def _title(value: Any) -> str:
    text = text_of(value)
    meter().charge(len(text) * PIECE_BYTES)
    titled: str = FILTERS["title"](text)
    return titled


def _wordcount(value: Any) -> int:
    text = text_of(value)
    meter().charge(_most_pieces(text) * PIECE_BYTES)
    return int(FILTERS["wordcount"](text))


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = text_of(value), text_of(old), text_of(new)
    matches = text.count(old)
    times = matches if count is None or count < 0 else min(matches, count)
    meter().charge(len(text) + times * max(0, len(new) - len(old)))
    return text.replace(old, new, -1 if count is None else count)


def _join(value: Any, d: Any = "", attribute: Any = None) -> str:
    items = drawn(value)
    if attribute is not None:
        items = [item.get(attribute, "") for item in items]
    return joined(text_of(d), map(text_of, items))


def _indent(value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    text = text_of(value)
    size = len(width) if isinstance(width, str) else max(0, width)
    meter().charge(len(text) + _most_pieces(text) * (PIECE_BYTES + size))
    indented: str = FILTERS["indent"](text, width, first, blank)
    return indented


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write plain JSON; Jinja's own filter escapes for HTML."""
    meter().writable(value)
    width = indent if isinstance(indent, int) else len(indent or "")
    if width > WIDEST or any(len(text) > WIDEST for text in separators or ()):
        raise SandboxError(f"indents or separates JSON by more than {WIDEST} characters")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return joined("", encoder.iterencode(value))


def _round(value: Any, precision: int = 0) -> float:
    if not -MOST_DIGITS <= precision <= MOST_DIGITS:
        raise SandboxError(f"rounds to more than {MOST_DIGITS} digits")
    return float(round(float(value), precision))


def _metered(function: Callable[..., Any], change: Callable[[Any], Any] | None = None) -> Any:
    """Wrap a filter of Jinja's: bounded arguments in, a counted result out.

    :param change: applied to the filtered value first, such as `text_of`.
    """
    place = int(hasattr(function, "jinja_pass_arg"))

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args[place + 1 :], *kwargs.values()):
            if change is drawn and isinstance(argument, str) and len(argument) > LONGEST_ARGUMENT:
                raise SandboxError(f"passes a text of {len(argument)} characters to a filter")
        current = meter()
        current.charge()
        values = list(args)
        if change is not None and (change is text_of or values[place]):
            values[place] = change(values[place])
        result = function(*values, **kwargs)
        if isinstance(result, Iterator):
            result = (item for item in drawn(result))  # a generator, as it is for Jinja
        if isinstance(result, int):
            return bounded_number(result)
        return result if result is args[place] else current.made(result)

    return filtered


_OF_TEXT = ("capitalize", "lower", "truncate", "upper")
_OF_LISTS = (
    "list", "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "unique",
)  # fmt: skip
_UNCHANGED = (
    "abs", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "reverse",
)  # fmt: skip
METERED_FILTERS: dict[str, Callable[..., Any]] = {
    **{name: _metered(FILTERS[name], text_of) for name in _OF_TEXT},
    **{name: _metered(FILTERS[name], drawn) for name in _OF_LISTS},
    **{name: _metered(FILTERS[name]) for name in _UNCHANGED},
    "indent": _metered(_indent),
    "join": _join,
    "replace": _metered(_replace),
    "round": _round,
    "safe": text_of,
    "string": text_of,
    "title": _metered(_title),
    "tojson": _to_json,
    "trim": _metered(_trim),
    "wordcount": _wordcount,
}
