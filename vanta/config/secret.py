"""What must never be shown. Invariant: what `shown` returns holds no key and no password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_INLINE = re.compile(r"(^|[_-])(key|secret|password|passwd|authorization)$", re.IGNORECASE)
_SECRET = re.compile(
    r"(^|[_-])(key|secret|password|passwd|authorization|credentials?|cookie|token)$", re.IGNORECASE
)
_KEY_SHAPED = re.compile(r"\b(sk|gsk|hf|xai|ghp)[-_][A-Za-z0-9_-]{16,}|\bBearer\s+\S+")
_USERINFO = re.compile(r"(://)[^/@\s]+@")


def is_inline_key(name: str, value: Any) -> bool:
    """True for an option that would hold a secret itself: `api_key`, or what looks like a key."""
    looks_like_one = isinstance(value, str) and _KEY_SHAPED.fullmatch(value)
    return bool(_INLINE.search(name) or looks_like_one)


def shown(value: Any, name: str = "") -> Any:
    """`value` without secrets: hidden where its `name` or its shape says that it is one."""
    if isinstance(value, Mapping):
        return {key: shown(item, str(key)) for key, item in value.items()}
    if _SECRET.search(name) and value is not None:
        return HIDDEN
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    if isinstance(value, str):
        return _USERINFO.sub(rf"\1{HIDDEN}@", _KEY_SHAPED.sub(HIDDEN, value))
    return value
