"""The detector of e-mail addresses.

It finds addresses of the usual form (RFC 5321), with any letters in both parts (RFC 6531), quoted,
percent-encoded in a URL, and written with "[at]" and "[dot]". What else has an @ is left alone: the
user of a URL, the target of ssh and scp, a name on a social network, a package with its version, a
picture for dense screens, a product of matrices. Invariant: it takes linear time.
"""

from __future__ import annotations

import re

from vanta_privacy.normalisation import normalise

_LOCAL_SIZE = 64
_LABELS = r"(?:[\w-]{1,63}\.){1,8}"
_ENDING = r"(?:xn--[A-Za-z0-9-]{1,59}|[^\W\d_]{2,63})"
_AT_DOMAIN = re.compile(rf"(?:@|%40)({_LABELS}{_ENDING})(?![\w(-])")
_SPELLED_OUT = re.compile(
    r"[\w-] {0,2}[\[(] ?at ?[\])] {0,2}"
    rf"[\w-]{{1,63}}(?:\.| {{0,2}}[\[(] ?dot ?[\])] {{0,2}}){_ENDING}",
    re.IGNORECASE,
)
_REMOTE_PATH = re.compile(r":[\w.-]{0,64}[/~]")
_FILE = re.compile(r"\.(?:gz|tgz|zip|bz2|xz|whl|jar|png|jpe?g|gif|svg|webp)$", re.IGNORECASE)
_URL_SIZE = 256


class EmailDetector:
    """Detects e-mail addresses."""

    name = "email"
    summary = "e-mail addresses"

    def find(self, text: str) -> str | None:
        """Return "an e-mail address" if `text` contains one, otherwise None.

        :param text: the user's message.
        """
        text = normalise(text)
        found = any(_is_address(text, match) for match in _AT_DOMAIN.finditer(text))
        return "an e-mail address" if found or _SPELLED_OUT.search(text) else None


def _is_address(text: str, at_domain: re.Match[str]) -> bool:
    at = at_domain.start()
    if _FILE.search(at_domain[1]) or _REMOTE_PATH.match(text, at_domain.end()):
        return False
    start = _start_of_local_part(text, at)
    is_quoted = text[at - 1 : at] == '"' and text.rfind('"', max(0, at - _LOCAL_SIZE), at - 1) >= 0
    if start == at and not is_quoted:
        return False
    return text[start - 1 : start] != "@" and not _is_user_of_url(text, start)


def _start_of_local_part(text: str, at: int) -> int:
    start = at
    while start > max(0, at - _LOCAL_SIZE) and (
        text[start - 1].isalnum() or text[start - 1] in "._%+'-"
    ):
        start -= 1
    return start


def _is_user_of_url(text: str, start: int) -> bool:
    scheme_end = text.rfind("://", max(0, start - _URL_SIZE), start)
    return scheme_end >= 0 and not re.search(r"[\s/?#]", text[scheme_end + 3 : start])
