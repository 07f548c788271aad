"""Faults in a script file, each with its place and a message that says how to fix it.

Invariant: pure. A fault names its place ("turn 2", `'say'`), the value, the type or choice that
is allowed and, for an unknown name, the nearest known one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vanta import Sampling, UsageError, did_you_mean
from vanta.tools import CallPattern, schema_problem
from vanta_scripts.schema import (
    AFTER_TOKENS,
    ApprovalForm,
    CallForm,
    DocumentForm,
    FixturesForm,
    MatrixForm,
    MemoryForm,
    PageForm,
    ResultForm,
    ScriptForm,
    ToolForm,
    TurnForm,
    UpstreamForm,
)

Location = tuple[str | int, ...]
"""The keys and indexes that lead to a value of a script file."""

_TYPE_NAMES = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "dataclass_type": "a mapping",
    "int_parsing": "a whole number",
}
_FORMS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): ScriptForm,
    ("turns",): TurnForm,
    ("upstream",): UpstreamForm,
    ("upstream", "call"): CallForm,
    ("matrix",): MatrixForm,
    ("fixtures",): FixturesForm,
    ("fixtures", "memories"): MemoryForm,
    ("fixtures", "documents"): DocumentForm,
    ("fixtures", "pages"): PageForm,
    ("tools",): ToolForm,
    ("tools", "results"): ResultForm,
    ("approvals",): ApprovalForm,
    ("then",): UpstreamForm,
}
_UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in a script file.

    :param location: where the fault is.
    :param problem: the message.
    :param at_key: whether the fault is at the key that leads there, not at the value.
    """

    location: Location
    problem: str
    at_key: bool = False


def validation_faults(
    error: ValidationError,
    location: Location,
    expectations: Iterable[str],
    *,
    scalar: bool = False,
) -> list[Fault]:
    """Return the faults in pydantic's report on the value at `location`.

    :param expectations: names of known expectations, for hints.
    :param scalar: whether the value has no parts, so that indexes in the report (a single text
        counts as a list of one) are ignored.
    """
    faults = []
    for detail in error.errors(include_url=False):
        steps = [step for step in detail["loc"] if step != "[key]"]
        place = location if scalar else (*location, *steps)
        faults.append(_fault(place, detail, expectations))
    return faults


def contradictions(form: ScriptForm) -> list[Fault]:
    """Return the faults of a script whose fields are valid one by one but not together."""
    return [
        *_script_contradictions(form),
        *_fixture_contradictions(form),
        *_tool_contradictions(form),
        *_turn_contradictions(form),
        *_time_contradictions(form),
    ]


def _fault(location: Location, detail: ErrorDetails, expectations: Iterable[str]) -> Fault:
    kind = detail["type"]
    if kind in _UNKNOWN_FIELD:
        return _unknown_field(location, expectations)
    if kind == "missing":
        parent = location[:-1]
        return Fault(parent, f"{_place(parent)} has no {location[-1]!r}. Add it.")
    if kind in _TYPE_NAMES:
        problem = _wrong_type(_subject(location), _TYPE_NAMES[kind], detail["input"])
        return Fault(location, problem)
    if kind in ("too_short", "string_too_short"):
        return Fault(location, f"{_subject(location)} is empty. Fill it in or leave it out.")
    if kind == "literal_error":
        return Fault(location, _unknown_choice(_subject(location), detail))
    return Fault(location, f"{_subject(location)}: {_other_problem(detail)}")


def _unknown_choice(subject: str, detail: ErrorDetails) -> str:
    choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    given = detail["input"]
    hint = did_you_mean(given, choices) if isinstance(given, str) else ""
    return f"{subject} is {_shown(given)}; it must be one of {', '.join(choices)}. {hint}".rstrip()


def _unknown_field(location: Location, expectations: Iterable[str]) -> Fault:
    name, parent = str(location[-1]), location[:-1]
    problem = f"unknown field {name!r} in {_place(parent)}."
    if len(location) == 3 and name in expectations:
        return Fault(location, f"{problem} It belongs under 'expect'.", at_key=True)
    hint = did_you_mean(name, _field_names(parent))
    return Fault(location, f"{problem} {hint}", at_key=True)


def _field_names(location: Location) -> Iterable[str]:
    """Return the known fields of the mapping at `location`."""
    if location[:1] == ("sampling",) or location[:2] == ("matrix", "sampling"):
        return [field.name for field in dataclasses.fields(Sampling)]
    # The last two keys tell all mappings of the format apart.
    keys = tuple(step for step in location if isinstance(step, str))
    form = _FORMS.get(keys[-2:]) or _FORMS.get(keys[-1:])
    return form.model_fields if form else ()


def _subject(location: Location) -> str:
    """Return the value at `location` in words, with the place that contains it."""
    is_field = len(location) > 0 and isinstance(location[-1], str)
    return f"{location[-1]!r} in {_place(location[:-1])}" if is_field else _place(location)


def _place(location: Location) -> str:
    match location:
        case ():
            return "the script"
        case ("turns", int(index)):
            return f"turn {index + 1}"
        case (*before, int(index)):
            return f"entry {index + 1} of {_place(tuple(before))}"
        case ("turns", int(index), *rest):
            return f"{rest[-1]!r} of turn {index + 1}"
    return repr(location[-1])


def _wrong_type(subject: str, wanted: str, given: Any) -> str:
    problem = f"{subject} is {_shown(given)}; it must be {wanted}."
    is_scalar = given is not None and not isinstance(given, Mapping | list | tuple)
    return f"{problem} Put it in quotes." if wanted == "text" and is_scalar else problem


def _shown(given: Any) -> str:
    if given is None:
        return "empty"
    if isinstance(given, Mapping):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    if isinstance(given, bool):
        return str(given).lower()
    text = repr(given)
    sort = "the text" if isinstance(given, str) else "the number"
    return f"{sort} {text if len(text) <= 40 else text[:39] + '…'}"


def _other_problem(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        problem = str(detail["ctx"]["error"])
        return problem if problem.endswith((".", "?")) else f"{problem}."
    if detail["type"] == "string_pattern_mismatch":
        return f"{_shown(detail['input'])} must be 1 to 64 letters, digits, '_' or '-'."
    message = detail["msg"].removeprefix("Input ")
    return f"{_shown(detail['input'])} {message}."


def _script_contradictions(form: ScriptForm) -> Iterator[Fault]:
    axes = [axis for axis, values in form.matrix if values is not None]
    if form.session is not None and (form.repeat > 1 or axes):
        other = "'repeat'" if form.repeat > 1 else "'matrix'"
        problem = f"a script that continues a session runs once. Remove 'session' or {other}."
        yield Fault(("session",), problem, at_key=True)
    if form.matrix.policy is not None and form.matrix.track is not None:
        problem = "'track' and 'policy' in 'matrix' exclude each other. Remove one of them."
        yield Fault(("matrix", "track"), problem, at_key=True)
    if form.seed is not None and form.sampling.seed is not None:
        problem = "'seed' is set in the script and in 'sampling'. Remove one of them."
        yield Fault(("seed",), problem, at_key=True)
    yield from _upstream_contradictions(form.upstream, ("upstream",))


def _fixture_contradictions(form: ScriptForm) -> Iterator[Fault]:
    if form.session is not None and (form.fixtures.memories or form.fixtures.documents):
        problem = "a script that continues a session uses its user's memory. "
        problem += "Remove 'session' or 'fixtures'."
        yield Fault(("fixtures",), problem, at_key=True)
    ids: set[str] = set()
    for index, memory in enumerate(form.fixtures.memories):
        if memory.id in ids:
            problem = f"two memories have the id {memory.id!r}. Change one of them."
            yield Fault(("fixtures", "memories", index, "id"), problem)
        ids |= {memory.id} if memory.id else set()
    for path in form.fixtures.files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            problem = f"the file {path!r} is not below the folder. Use a path like 'notes/a.txt'."
            yield Fault(("fixtures", "files", path), problem, at_key=True)
    for path in form.fixtures.pages:
        if not path.startswith("/"):
            problem = f"the page {path!r} does not begin with '/'. Write {'/' + path!r}."
            yield Fault(("fixtures", "pages", path), problem, at_key=True)


def _tool_contradictions(form: ScriptForm) -> Iterator[Fault]:
    names: set[str] = set()
    runs = bool(form.toolsets) or any(tool.results for tool in form.tools)
    for index, tool in enumerate(form.tools):
        if tool.name in names:
            yield Fault(("tools", index), f"two tools are named {tool.name!r}. Remove one of them.")
        names.add(tool.name)
        if runs and not tool.results:
            problem = f"the tool {tool.name!r} has no 'results', and calls run in this script."
            yield Fault(("tools", index), f"{problem} Give it results, such as ['Done.'].")
        wrong = schema_problem(tool.parameters) if tool.results else None
        if wrong:
            yield Fault(("tools", index, "parameters"), f"{wrong}.")
    for kind in ("allow", "ask", "deny"):
        for index, rule in enumerate(getattr(form, kind)):
            try:
                CallPattern.parse(rule)
            except UsageError as error:
                yield Fault((kind, index), str(error))
    if form.session is None:
        return
    own = [name for name in ("allow", "ask", "deny", "approvals") if getattr(form, name)]
    if own or any(tool.results for tool in form.tools):
        problem = "a script that continues a session calls your own tools, under your own rules. "
        field = own[0] if own else "tools"
        yield Fault((field,), f"{problem}Remove 'session' or {field!r}.", at_key=True)


def _turn_contradictions(form: ScriptForm) -> Iterator[Fault]:
    for index, turn in enumerate(form.turns):
        location = ("turns", index)
        if turn.restart and index == 0:
            problem = "turn 1 cannot restart: no turn precedes it. Remove 'restart'."
            yield Fault((*location, "restart"), problem, at_key=True)
        yield from _upstream_contradictions(turn.upstream, (*location, "upstream"))


def _time_contradictions(form: ScriptForm) -> Iterator[Fault]:
    if form.session is not None:
        times: list[Location] = [("at",)] if form.at is not None else []
        times += [("turns", n, "at") for n, turn in enumerate(form.turns) if turn.at is not None]
        for location in times:
            problem = "a script that continues a session takes place now. "
            yield Fault(location, problem + "Remove 'session' or 'at'.", at_key=True)
        return
    last = form.begins_at
    for index, turn in enumerate(form.turns):
        if turn.at is not None and turn.at < last:
            problem = f"turn {index + 1} is earlier than the turn before it. Use a later time."
            yield Fault(("turns", index, "at"), problem)
        last = turn.at if turn.at is not None else last


def _upstream_contradictions(form: UpstreamForm | None, location: Location) -> Iterator[Fault]:
    if form is None:
        return
    given = form.model_fields_set
    if "after" in given and form.fault not in AFTER_TOKENS:
        yield Fault((*location, "after"), _no_effect("after", AFTER_TOKENS), at_key=True)
    if "retry_after" in given and form.fault != "rate_limited":
        problem = _no_effect("retry_after", ("rate_limited",))
        yield Fault((*location, "retry_after"), problem, at_key=True)
    if form.call is not None and ("text" in given or form.fault != "none"):
        other = "text" if "text" in given else "fault"
        problem = f"'call' and {other!r} exclude each other. Remove one of them."
        yield Fault((*location, "call"), problem, at_key=True)
    for index, following in enumerate(form.then):
        place = (*location, "then", index)
        if following.then:
            problem = "'then' stands in another 'then'. Make one list of them."
            yield Fault((*place, "then"), problem, at_key=True)
        yield from _upstream_contradictions(following, place)


def _no_effect(field: str, faults: tuple[str, ...]) -> str:
    plural = "s" if len(faults) > 1 else ""
    return f"{field!r} applies only to the fault{plural} {', '.join(faults)}. Remove it."
