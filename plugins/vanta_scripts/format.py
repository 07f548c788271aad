"""Reads script files (YAML, or JSON with the suffix `.json`), and updates their `equals` values.

Invariant: the result of reading is a `Script` or one ScriptError that lists every fault with file,
line, column and the way to fix it; nothing outside the file is read. An update changes nothing but
the values of `equals` that did not hold, not even a comment or a space.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from vanta import Expectation, ScriptError, Tool, did_you_mean
from vanta.files import read_file
from vanta.text import DocumentError, Node, Place, read_marked
from vanta_scripts.checks import BUILTIN
from vanta_scripts.faults import Fault, contradictions, validation_faults
from vanta_scripts.schema import (
    ApprovalForm,
    DocumentForm,
    FixturesForm,
    MatrixForm,
    MemoryForm,
    ScriptForm,
    ToolForm,
    TurnForm,
    UpstreamForm,
)
from vanta_scripts.script import (
    DocumentFixture,
    Fixtures,
    Matrix,
    MemoryFixture,
    Page,
    PlannedApproval,
    PlannedCall,
    Script,
    ScriptedResult,
    ScriptedTool,
    ScriptTurn,
    UpstreamPlan,
)

if TYPE_CHECKING:
    import yaml

    from vanta_scripts.results import ScriptResult

_MAX_BYTES = 1_000_000
_MAX_FAULTS = 10


def load_script(path: str | Path, expectations: Mapping[str, Expectation] = BUILTIN) -> Script:
    """Return the script in a file. Blocking.

    :param path: a YAML file, or JSON if its name ends in `.json`; at most 1 MB of UTF-8.
    :param expectations: the expectations allowed under `expect`, see `known_expectations`.
    :raises ScriptError: if the file cannot be read or is not a valid script.
    """
    path = Path(path)
    syntax: Literal["yaml", "json"] = "json" if path.suffix.lower() == ".json" else "yaml"
    return parse_script(
        _read_text(path), source=str(path), syntax=syntax, expectations=expectations
    )


def parse_script(
    text: str,
    *,
    source: str = "<text>",
    syntax: Literal["yaml", "json"] = "yaml",
    expectations: Mapping[str, Expectation] = BUILTIN,
) -> Script:
    """Return the script in `text`.

    :param text: the content of a script file.
    :param source: the file's name in messages.
    :param syntax: the language of `text`.
    :param expectations: the expectations allowed under `expect`, see `known_expectations`.
    :raises ScriptError: if `text` is not a valid script.
    """
    try:
        node = read_marked(text, syntax=syntax)
    except DocumentError as error:
        raise ScriptError(_located(source, error.place, error.reason)) from error
    form, faults = _validate(node, expectations)
    expected, more = _check_expectations(node, expectations)
    faults += more + (contradictions(form) if form else [])
    if faults or form is None:
        raise ScriptError(_fault_report(source, node, faults))
    return _script(form, expected, node, source)


def update_equals(results: Iterable[ScriptResult]) -> list[str]:
    """Set the `equals` values that did not hold to the actual replies, in the script files.

    Runs of a script with different replies change nothing. Blocking.

    :param results: the runs whose scripts are updated.
    :returns: `FILE:LINE` of each changed value.
    :raises ScriptError: if a file cannot be written or has changed since the run.
    """
    wanted: dict[str, dict[int, set[str]]] = {}
    for result in results:
        for turn in result.turns:
            if turn.reply and any(failure.expectation == "equals" for failure in turn.failures):
                texts = wanted.setdefault(result.source, {}).setdefault(turn.number - 1, set())
                texts.add(turn.reply.text.strip())
    return [place for source, turns in wanted.items() for place in _update(Path(source), turns)]


def _validate(
    node: Node, expectations: Mapping[str, Expectation]
) -> tuple[ScriptForm | None, list[Fault]]:
    try:
        # In JSON mode, strict validation accepts a list for a tuple and no other conversion.
        return ScriptForm.model_validate_json(json.dumps(node.value)), []
    except ValidationError as error:
        return None, validation_faults(error, (), expectations)


def _check_expectations(
    node: Node, expectations: Mapping[str, Expectation]
) -> tuple[list[dict[str, Any]], list[Fault]]:
    """Return the checked expectations of each turn, and their faults."""
    checked: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for location, values in _expect_mappings(node.value):
        checked.append({})
        for name, value in values.items():
            place = (*location, name)
            if name not in expectations:
                problem = f"unknown expectation {name!r} in turn {int(location[1]) + 1}."
                hint = did_you_mean(name, expectations)
                faults.append(Fault(place, f"{problem} {hint}", at_key=True))
                continue
            try:
                checked[-1][name] = _adapter(expectations[name]).validate_json(
                    json.dumps(value), strict=True
                )
            except ValidationError as error:
                scalar = not isinstance(value, list | dict)
                faults += validation_faults(error, place, expectations, scalar=scalar)
    return checked, faults


def _expect_mappings(data: Any) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    turns = data.get("turns") if isinstance(data, dict) else None
    for index, turn in enumerate(turns if isinstance(turns, list) else ()):
        expect = turn.get("expect") if isinstance(turn, dict) else None
        yield ("turns", index, "expect"), expect if isinstance(expect, dict) else {}


@functools.lru_cache(maxsize=256)
def _adapter(expectation: Expectation) -> TypeAdapter[Any]:
    # Building an adapter takes ten times as long as using it.
    return TypeAdapter(expectation.value)


def _script(form: ScriptForm, expected: list[dict[str, Any]], node: Node, source: str) -> Script:
    turns = tuple(
        _turn(turn, expect, node.place_of(("turns", index)).line)
        for index, (turn, expect) in enumerate(zip(form.turns, expected, strict=True))
    )
    fields = _fields(form) | {
        "turns": turns,
        "tags": tuple(form.tags),
        "upstream": _upstream(form.upstream),
        "matrix": _matrix(form.matrix),
        "fixtures": _fixtures(form.fixtures),
        "tools": tuple(_tool(tool) for tool in form.tools if not tool.results),
        "scripted": tuple(_scripted(tool) for tool in form.tools if tool.results),
        "toolsets": tuple(dict.fromkeys(form.toolsets)),
        "allow": tuple(form.allow),
        "ask": tuple(form.ask),
        "deny": tuple(form.deny),
        "approvals": _approvals(form.approvals),
        "at": form.begins_at,
        "source": source,
    }
    if form.seed is not None:
        fields["sampling"] = dataclasses.replace(form.sampling, seed=form.seed)
    return Script(**fields)


def _turn(form: TurnForm, expect: Mapping[str, Any], line: int) -> ScriptTurn:
    changes = {
        "expect": expect,
        "upstream": _upstream(form.upstream),
        "approvals": _approvals(form.approvals),
        "line": line,
    }
    return ScriptTurn(**_fields(form) | changes)


def _tool(form: ToolForm) -> Tool:
    fields = _fields(form)
    del fields["results"]
    return Tool(**fields)


def _scripted(form: ToolForm) -> ScriptedTool:
    results = tuple(ScriptedResult(**_fields(result)) for result in form.results)
    return ScriptedTool(_tool(form), results)


def _approvals(forms: Iterable[ApprovalForm]) -> tuple[PlannedApproval, ...]:
    return tuple(PlannedApproval(**_fields(form)) for form in forms)


def _upstream(form: UpstreamForm | None) -> UpstreamPlan | None:
    if form is None:
        return None
    call = PlannedCall(**_fields(form.call)) if form.call else None
    plans = tuple(plan for plan in map(_upstream, form.then) if plan)
    return UpstreamPlan(**_fields(form) | {"call": call, "then": plans})


def _fixtures(form: FixturesForm) -> Fixtures:
    def fields(item: MemoryForm | DocumentForm) -> dict[str, Any]:
        return _fields(item) | {"tags": tuple(item.tags)}

    return Fixtures(
        tuple(MemoryFixture(**fields(memory)) for memory in form.memories),
        tuple(DocumentFixture(**fields(document)) for document in form.documents),
        form.files,
        {path: Page(**_fields(page)) for path, page in form.pages.items()},
    )


def _matrix(form: MatrixForm) -> Matrix:
    return Matrix(**{axis: tuple(values) for axis, values in form if values is not None})


def _fields(form: BaseModel) -> dict[str, Any]:
    return {name: getattr(form, name) for name in type(form).model_fields}


def _fault_report(source: str, node: Node, faults: list[Fault]) -> str:
    placed = [(node.place_of(fault.location, key=fault.at_key), fault) for fault in faults]
    placed.sort(key=lambda item: dataclasses.astuple(item[0]))
    lines = [_located(source, place, fault.problem) for place, fault in placed[:_MAX_FAULTS]]
    if len(placed) > _MAX_FAULTS:
        lines.append(f"{source}: and {len(placed) - _MAX_FAULTS} more.")
    return "\n".join(lines)


def _located(source: str, place: Place, problem: str) -> str:
    return f"{source}:{place.line}:{place.column}: {problem}"


def _read_text(path: Path) -> str:
    try:
        data = read_file(path, _MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ScriptError(f"{path}: is larger than {_MAX_BYTES} bytes. Split it.") from error
        reason = error.strerror or error
        raise ScriptError(f"{path}: cannot be read: {reason}. Check the path.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        place = Place(line, column)
        raise ScriptError(_located(str(path), place, "is not UTF-8. Save it as UTF-8.")) from error


def _update(path: Path, turns: dict[int, set[str]]) -> list[str]:
    import yaml

    try:
        text = read_file(path, _MAX_BYTES).decode("utf-8")
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        spans = [
            (_equals_span(root, index), next(iter(texts)))
            for index, texts in turns.items()
            if len(texts) == 1
        ]
        places = [f"{path}:{text.count(chr(10), 0, begin) + 1}" for (begin, _), _ in spans]
        for (begin, end), actual in sorted(spans, reverse=True):
            tail = "\n" if text[begin:end].endswith("\n") else ""
            text = text[:begin] + json.dumps(actual, ensure_ascii=False) + tail + text[end:]
        path.write_bytes(text.encode("utf-8"))
    except (OSError, ValueError, LookupError, yaml.YAMLError) as error:
        raise ScriptError(
            f"{path}: cannot be updated: {error}. Run the script again if the file has changed."
        ) from error
    return places


def _equals_span(root: yaml.Node | None, index: int) -> tuple[int, int]:
    """Return where the `equals` value of a turn begins and ends, in characters."""
    node = root
    for key in ("turns", index, "expect", "equals"):
        node = _child(node, key)
    assert node is not None  # noqa: S101 - _child raises if there is no such node
    return node.start_mark.index, node.end_mark.index


def _child(node: yaml.Node | None, key: str | int) -> yaml.Node:
    import yaml

    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        return node.value[key]  # type: ignore[no-any-return]
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value  # type: ignore[no-any-return]
    raise LookupError(f"there is no {key!r}")
