"""The patterns of rules for tool calls: which tool, and which arguments.

    NAME                     the tool of that name
    TOOLSET.TOOL             the tool of one toolset; `*` stands for any characters of a name
    TOOLSET.*                all tools of a toolset
    NAME(PATTERN)            calls whose main argument matches: `files.write(docs/**)`
    NAME(ARGUMENT=PATTERN)   calls whose named argument matches; several are separated by `, `

The main argument is the first one that the tool's schema requires. An argument called `argv`,
`args`, `cmd` or `command` is matched as a command line: `command(git status*)`. Of another list,
each item is matched.

Invariant: what is uncertain counts against the call. A rule that allows is read narrowly: `*` stays
within one part of a path or URL, `**` spans parts, and a path with `..`, a URL that is not in its
plain form or a line of shell syntax matches nothing. A rule that denies or asks is read widely: `*`
spans everything, letter case does not matter, a path is also compared from each of its folders on,
a command from each of its words on, and every argument counts, also one that is left out: it is
what the schema says that the tool takes instead.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from vanta.errors import UsageError
from vanta.tool_contract import Tool
from vanta.tools.registry import OfferedTool

LONGEST_ALLOWED = 4096
"""Characters of an argument beyond which no rule allows it."""

LONGEST_OTHER = 2048
"""Characters up to which a text with spaces, if it is not the main argument, counts in a rule that
denies. What has none, such as a path, always does."""

_RULE = re.compile(r"(?P<name>[^\s()]+?)(?:\((?P<arguments>.+)\))?", re.DOTALL)
_NAMED = re.compile(r"(?:^|,\s+)(?P<argument>[A-Za-z_][\w-]*)=")
_STAR = re.compile(r"\*+")
_COMMAND_LINES = frozenset({"argv", "args", "cmd", "command"})
_SHELL_SYNTAX = re.compile(r"[;&|<>$`(){}\x00-\x1f]")
_WORDS_APART = re.compile(r"[\s;&|<>$`(){}'\"]+")
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]+):/*(?P<rest>.*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
_LINK = re.compile(r"[A-Za-z][\w+.-]+:/")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]+")
_SPACE = re.compile(r"\s")
_Beginning = Literal["start", "folder", "word"]
_PLAIN_HOST = re.compile(r"[a-z0-9.-]+(?::\d+)?|\[[0-9a-f:.]+\](?::\d+)?")


@dataclass(frozen=True, slots=True)
class CallPattern:
    """One parsed rule.

    :param text: the rule as it was written.
    :param name: pattern of the tool's name, or of the toolset's and the tool's.
    :param arguments: pattern for each argument; "" is the main one.
    """

    text: str
    name: str
    arguments: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> CallPattern:
        """Parse a rule.

        :param text: the rule.
        :returns: the pattern.
        :raises UsageError: if it is not a rule.
        """
        match = _RULE.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"{text!r} is not a rule for tools. Write NAME, TOOLSET.TOOL, TOOLSET.* or "
                "NAME(PATTERN), such as 'files.write(docs/**)' or 'command(git status*)'."
            )
        return cls(text, match["name"], _argument_patterns(match["arguments"] or ""))

    def allows(self, offered: OfferedTool, arguments: Mapping[str, Any]) -> bool:
        """Whether a rule that allows covers this call, read narrowly."""
        tool = offered.tool.name
        if not _is_named(self.name, offered.toolset, tool, {tool} & {offered.name}):
            return False
        for argument, pattern in self.arguments:
            name = argument or main_argument(offered.tool)
            if not _matches_narrowly(pattern, name, arguments.get(name)):
                return False
        return True

    def restricts(self, offered: OfferedTool, arguments: Mapping[str, Any]) -> bool:
        """Whether a rule that denies or asks covers this call, read widely."""
        toolset, tool, name = (
            text.lower() for text in (offered.toolset, offered.tool.name, offered.name)
        )
        if not _is_named(self.name.lower(), toolset, tool, {toolset, tool, name}):
            return False
        main = main_argument(offered.tool)
        meant = {**defaults_of(offered.tool), **arguments}
        for argument, pattern in self.arguments:
            name = argument or main
            # What is left out is not there, or what the tool takes instead.
            given = {name: meant.get(name)} if argument else {name: None, **meant}
            folded = _folded(pattern)
            if not any(reading.fits(folded) for reading in _all_readings(name, given)):
                return False
        return True


def main_argument(tool: Tool) -> str:
    """Return the argument that a pattern without a name is for; "" if the tool has none."""
    required = tool.parameters.get("required")
    if isinstance(required, list | tuple) and required:
        return str(required[0])
    properties = tool.parameters.get("properties")
    return str(next(iter(properties), "")) if isinstance(properties, Mapping) else ""


def defaults_of(tool: Tool) -> dict[str, Any]:
    """Return what a tool takes for arguments that a call leaves out, by its schema."""
    properties = tool.parameters.get("properties")
    described = properties.items() if isinstance(properties, Mapping) else ()
    return {
        str(name): schema["default"]
        for name, schema in described
        if isinstance(schema, Mapping) and "default" in schema
    }


def _argument_patterns(text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    if not _NAMED.match(text):
        return (("", text),)
    names = list(_NAMED.finditer(text))
    ends = [*(match.start() for match in names[1:]), len(text)]
    return tuple(
        (match["argument"], text[match.end() : end]) for match, end in zip(names, ends, strict=True)
    )


def _is_named(pattern: str, toolset: str, tool: str, names: set[str]) -> bool:
    """Whether a pattern names a tool with its toolset, or, without a dot, by one of `names`."""
    if pattern == "*":
        return True
    of_toolset, dot, of_tool = pattern.rpartition(".")
    if dot:
        return _globs(of_toolset, toolset) and _globs(of_tool, tool)
    return any(_globs(of_tool, name) for name in names)


def _globs(pattern: str, name: str) -> bool:
    return _wide(pattern).fullmatch(name) is not None


# Rules that allow.


def _matches_narrowly(pattern: str, name: str, value: Any) -> bool:
    if name in _COMMAND_LINES:
        line = _command_line(value)
        return line is not None and _wide(pattern).fullmatch(line) is not None
    if isinstance(value, list | tuple):
        return bool(value) and all(_matches_narrowly(pattern, "", item) for item in value)
    text = value if isinstance(value, str) else _as_json(value)
    plain = _plain(text) if len(text) <= LONGEST_ALLOWED else None
    return plain is not None and _parts_match(pattern.split("/"), re.split(r"[/\\]", plain))


def _command_line(value: Any) -> str | None:
    """Return a command as one line; None if a shell could read more than one program in it."""
    if isinstance(value, list | tuple):
        return shlex.join(value) if all(isinstance(part, str) for part in value) else None
    return value if isinstance(value, str) and not _SHELL_SYNTAX.search(value) else None


def _plain(text: str) -> str | None:
    """Return a path or URL for comparison; None if it may mean something else than it shows."""
    if any(ord(character) < 32 or character == "\x7f" for character in text):
        return None
    first, *rest = re.split(r"[/\\?#]", _decoded(text))
    if first == ".." or any(part.partition(";")[0] in (".", "..") for part in rest):
        return None
    if "://" not in text:
        return None if _SCHEME.match(text) and "\\" in text else text
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if "\\" in text or text.strip() != text or not _PLAIN_HOST.fullmatch(parts.netloc):
        return None
    query = f"?{parts.query.replace('/', '%2F')}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path or '/'}{query}"


def _decoded(part: str) -> str:
    """Undo percent-encoding, also if it was done twice."""
    for _ in range(4):
        part, before = unquote(part), part
        if part == before:
            break
    return part


def _parts_match(patterns: list[str], parts: list[str]) -> bool:
    """Whether the parts of a path match; a part `**` stands for one or more parts."""
    reached = {0}
    for index, pattern in enumerate(patterns):
        if not reached:
            return False
        if pattern == "**":
            at_least_one = index == len(patterns) - 1
            reached = set(range(min(reached) + at_least_one, len(parts) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(parts) and _part(pattern, parts[at])}
    return len(parts) in reached


def _part(pattern: str, part: str) -> bool:
    """Whether a part matches; an empty one, as before the `/` of a root, only the empty pattern."""
    return _globs(pattern, part) and bool(part or not pattern)


# Rules that deny or ask.


@dataclass(frozen=True, slots=True)
class _Reading:
    """A text that a value may be understood as.

    :param text: the text.
    :param begins: where a pattern may begin in it.
    """

    text: str
    begins: _Beginning = "start"

    def fits(self, pattern: str) -> bool:
        """Whether a folded pattern covers the text, or the rest of it from such a place on."""
        return _wide(pattern, self.begins).fullmatch(_folded(self.text)) is not None


def _all_readings(main: str, arguments: Mapping[str, Any]) -> Iterator[_Reading]:
    """Yield the readings of the main argument, and of all that may name the same kind of thing."""
    for name, value in arguments.items():
        for item in _leaves(value):
            if name == main or not _is_prose(item):
                yield from _readings(item, is_command=name in _COMMAND_LINES)


def _is_prose(value: Any) -> bool:
    """Whether a value is a longer text, such as a file's content, and no path, URL or command."""
    if not isinstance(value, str) or _LINK.match(_UNSEEN.sub("", value[:LONGEST_OTHER])):
        return False
    text = value.strip()
    return "\n" in text or (len(text) > LONGEST_OTHER and _SPACE.search(text) is not None)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield a value and everything in it, also the names of an object."""
    yield value
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)


def _readings(value: Any, *, is_command: bool) -> Iterator[_Reading]:
    """Yield the texts that a value may be understood as."""
    if isinstance(value, list | tuple):
        yield from _command_readings([str(part) for part in value])
        return
    text = value if isinstance(value, str) else _as_json(value)
    yield _Reading(text)
    if is_command:
        yield from _command_readings(_WORDS_APART.split(text))
    decoded = _decoded(text).replace("\\", "/")
    yield from map(_Reading, _url_readings(_UNSEEN.sub("", decoded)))
    yield _Reading(posixpath.normpath(decoded.strip()), "folder")


def _command_readings(words: list[str]) -> Iterator[_Reading]:
    """Yield a command line, which counts from each word on, with the word's path and without."""
    yield _Reading(" ".join([*words, ""]), "word")  # `rm *` covers `rm` alone, too
    yield _Reading(" ".join(words), "word")
    yield _Reading(shlex.join(words), "word")


def _url_readings(text: str) -> Iterator[str]:
    """Yield a URL without what does not change its host; without a scheme, with the usual ones."""
    yield text
    match = _URL.fullmatch(text)
    scheme, rest = (match["scheme"], match["rest"]) if match else ("", text.lstrip("/"))
    host, slash, path = rest.partition("/")
    host = re.split(r"[?#]", host.rpartition("@")[2])[0]
    path = posixpath.normpath(f"/{path}").lstrip("/") if slash else ""
    for name in dict.fromkeys((host, re.sub(r":\d*$", "", host), _in_unicode(host))):
        for prefix in (scheme,) if scheme else ("https", "http"):
            yield f"{prefix}://{name.rstrip('.')}/{path}"


def _in_unicode(host: str) -> str:
    """Return the name of a host as people write it, without its port."""
    labels = re.sub(r":\d*$", "", host).split(".")
    return ".".join(map(_label_in_unicode, labels))


def _label_in_unicode(label: str) -> str:
    if not label.lower().startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def _folded(text: str) -> str:
    """Return a text without differences that file systems and names of hosts ignore."""
    return unicodedata.normalize("NFKC", text).casefold().replace("\u3002", ".")


_LEADS: Mapping[_Beginning, str] = {
    "start": "",
    "folder": "(?:.*?/)??",
    "word": r"(?:.*?\s)??(?:(?>\S*/))??",
}
"""What may stand before a pattern, by where it may begin: nothing, folders of a path, words of a
command with the folders of the next one."""


@lru_cache(maxsize=1024)
def _wide(pattern: str, begins: _Beginning = "start") -> re.Pattern[str]:
    """Return an expression in which any stars match anything, in time linear in the text.

    Between two stars the first place that fits is as good as any later one, so an atomic group
    takes it; so is the first place where a pattern with a star begins.
    """
    lead = _LEADS[begins]
    head, *rest = [re.escape(part).replace(r"\?", ".") for part in _STAR.split(pattern)]
    if not rest:
        return re.compile(f"{lead}{head}", re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    return re.compile(f"(?>{lead}{head}){middle}.*{rest[-1]}", re.DOTALL)


def _as_json(value: Any) -> str:
    return "" if value is None else json.dumps(value, sort_keys=True, default=str)
