"""What a chat template can call: filters, methods and functions, each of them metered.

Only what is known not to get around the meter is there, and of that what chat templates use; each
means what it means to Hugging Face's (transformers, `utils/chat_template_utils.py`).
Invariant: no call takes longer than its arguments and its result have bytes, but for a small
factor: a call of C cannot be interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import wraps
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.filters import FILTERS
from jinja2.sandbox import safe_range
from jinja2.utils import Joiner, Namespace

from vanta_llamacpp.prompt.meter import (
    HEAVIEST,
    HEAVIEST_WRITTEN,
    METER,
    PER_PIECE,
    TemplateFault,
    bounded_number,
    drawn,
    joined_texts,
    listed,
    text_of,
)

LONGEST_NAME = 256 * 1024
WIDEST = 64
LONGEST_REASON = 500
LONGEST_SEARCH = 1 << 28
_PARTING = frozenset({"partition", "rpartition", "rsplit", "split", "splitlines"})
_SLOW = frozenset({"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"})


def call_method(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method of a text, after the meter where the result may be much larger."""
    text, name = str(method.__self__), method.__name__
    if name == "replace":
        return _replace(text, *args, **kwargs)
    if name == "join":
        return joined_texts(text, drawn(*args, **kwargs))
    if name in _SLOW:
        _check_search(text, *args)
    if name in _PARTING:
        METER.get().charge(_pieces(text, *args, **kwargs) * PER_PIECE)
        METER.get().charge(sys.getsizeof(text))
    return method(*args, **kwargs)


def _check_search(text: str, searched: Any = "", *_where: object) -> None:
    """Python takes the product of the lengths for what it does from the right, and to strip."""
    if isinstance(searched, str) and len(text) * len(searched) > LONGEST_SEARCH:
        raise TemplateFault("it searches a very long text for another")


def _trim(value: Any, chars: str | None = None) -> str:
    text = text_of(value)
    _check_search(text, chars)
    return text.strip(chars)


def _title(value: Any) -> str:
    text = text_of(value)
    METER.get().charge(len(text) * PER_PIECE)
    found: str = FILTERS["title"](text)
    return found


def _pieces(text: str, sep: Any = None, _most: object = -1, **_how: object) -> int:
    """More pieces than `text` can be parted in."""
    if isinstance(sep, str):
        return text.count(sep) + 1
    return sum(map(str.isspace, text)) + 1


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = text_of(value), text_of(old), text_of(new)
    found = text.count(old)
    times = found if count is None or count < 0 else min(found, count)
    METER.get().charge(len(text) + times * max(0, len(new) - len(old)))
    return text.replace(old, new, -1 if count is None else count)


def _join(value: Any, d: Any = "", attribute: Any = None) -> str:
    values = drawn(value)
    if attribute is not None:
        values = [each.get(attribute, "") for each in values]
    return joined_texts(text_of(d), map(text_of, values))


def _indent(value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    text, room = text_of(value), width if isinstance(width, str) else " " * min(width, WIDEST + 1)
    if len(room) > WIDEST:
        raise TemplateFault(f"it indents by more than {WIDEST} characters")
    METER.get().charge(_pieces(text) * PER_PIECE)
    found: str = FILTERS["indent"](text, room, first, blank)
    return found


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: jinja2's own filter escapes for HTML."""
    if METER.get().weight(value) > HEAVIEST_WRITTEN:
        raise TemplateFault(f"it writes out a value of more than {HEAVIEST_WRITTEN} bytes")
    wide = indent if isinstance(indent, int) else len(indent or "")
    if wide > WIDEST or any(len(each) > WIDEST for each in separators or ()):
        raise TemplateFault(f"it indents or parts JSON by more than {WIDEST} characters")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return joined_texts("", encoder.iterencode(value))


def _round(value: Any, precision: int = 0) -> float:
    if abs(precision) > WIDEST:
        raise TemplateFault(f"it rounds to {precision} digits")
    return float(round(value, precision))


def _now(pattern: str) -> str:
    if len(pattern) > LONGEST_REASON:
        raise TemplateFault("it asks for the date in a very long format")
    return datetime.now().astimezone().strftime(pattern)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _metered(
    function: Callable[..., Any], change: Callable[[Any], Any] | None, most: int = HEAVIEST
) -> Any:
    """The filter `function`, its first value changed, and its result made and counted at once.

    most: the characters of each of its other arguments, which may be names with dots.
    """
    place = int(hasattr(function, "jinja_pass_arg"))

    @wraps(function)
    def filter_(*args: Any, **kwargs: Any) -> Any:
        given = list(args)
        for each in (*args[place + 1 :], *kwargs.values()):
            if isinstance(each, str) and len(each) > most:
                raise TemplateFault(f"it gives a filter a text of {len(each)} characters")
        if change is not None:
            given[place] = change(given[place])
        found = function(*given, **kwargs)
        if isinstance(found, Iterator):
            found = drawn(found)
        if isinstance(found, int):
            return bounded_number(found)
        return found if found is args[place] else METER.get().made(found)

    return filter_


_OF_TEXT = ("capitalize", "lower", "upper")
_OF_LISTS = (
    "list", "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "unique",
)  # fmt: skip
_AS_THEY_ARE = (
    "abs", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "reverse",
)  # fmt: skip
ALLOWED_FILTERS = {
    **{name: _metered(FILTERS[name], text_of) for name in _OF_TEXT},
    **{name: _metered(FILTERS[name], listed, most=LONGEST_NAME) for name in _OF_LISTS},
    **{name: _metered(FILTERS[name], None) for name in _AS_THEY_ARE},
    "indent": _metered(_indent, None),
    "join": _join,
    "replace": _metered(_replace, None),
    "round": _round,
    "safe": text_of,
    "string": text_of,
    "title": _metered(_title, None),
    "tojson": _to_json,
    "trim": _metered(_trim, None),
}
ALLOWED_GLOBALS = {
    "dict": dict,
    "joiner": Joiner,
    "namespace": Namespace,
    "raise_exception": _refuse,
    "range": safe_range,
    "strftime_now": _now,
}
