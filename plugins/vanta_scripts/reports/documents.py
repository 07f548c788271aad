"""A report as an HTML page (verdicts, charts, transcripts with timelines) or as JUnit XML.

Invariant: pure functions of `RunReport.to_dict()`. The page is self-contained (no script, font or
picture from elsewhere), readable on a light and on a dark ground, and its template escapes every
text that a model or a server wrote. Characters that XML forbids are replaced.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from vanta import LegTrace, Trace, Usage
from vanta.drawing import ChartPoint, bar_chart, dot_chart, svg
from vanta_scripts.reports.figures import Figures, compared_figures, comparison

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATE = "report.html.j2"
_FORBIDDEN_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def html_report(report: Mapping[str, Any], *, before: Mapping[str, Any] | None = None) -> str:
    """Return the page of a report.

    :param report: `RunReport.to_dict()`, fresh or read from a file.
    :param before: an earlier report to compare with.
    """
    comparisons = []
    if before is not None:
        comparisons.append(_comparison("Compared with before", compared_figures(report, before)))
    variants = compared_figures(report)
    if len(variants) > 1:
        comparisons.append(_comparison("Variants", variants))
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            report=report,
            passed_outcomes=sum(outcome["passed"] for outcome in report["outcomes"]),
            comparisons=comparisons,
            charts=_charts(report),
        )
    )


def junit_report(report: Mapping[str, Any]) -> str:
    """Return the XML text of a report."""
    root = ET.Element("testsuites", name="vanta run", time=f"{report['duration_s']:.3f}")
    for script in report["scripts"]:
        root.append(_suite(script))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, 0)) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


@functools.cache
def _environment() -> Environment:
    """Return the environment of the page; Jinja is loaded when the first page is written."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["picture"] = _picture
    return environment


def _comparison(title: str, columns: Mapping[str, Figures]) -> dict[str, Any]:
    rates = {
        name: (column["pass_rate"] or 0.0, f"{column['pass_rate'] or 0:.0%}")
        for name, column in columns.items()
    }
    return {
        "title": title,
        "columns": list(columns),
        "rows": comparison(columns),
        "chart": _chart("passed turns", bar_chart(rates, title="passed turns", full=1.0)),
    }


def _charts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the charts of times and costs that have data."""
    durations: dict[str, list[ChartPoint]] = {}
    first: dict[str, list[ChartPoint]] = {}
    costs: dict[str, float] = {}
    for script in report["scripts"]:
        title = script["title"]
        costs[title] = costs.get(title, 0.0) + script["cost_usd"]
        for turn in script["turns"]:
            reply = turn["reply"]
            if not reply:
                continue
            timings, label = reply["timings"], f"turn {turn['turn']}, {reply['track']}"
            point = ChartPoint(reply["track"], timings["duration_s"], label)
            durations.setdefault(title, []).append(point)
            if timings["first_content_s"] is not None:
                point = ChartPoint(reply["track"], timings["first_content_s"], label)
                first.setdefault(title, []).append(point)
    bars = {title: (usd, f"${usd:.6f}") for title, usd in costs.items() if usd}
    first_title = "time to first text in seconds, one dot per turn"
    whole_title = "duration in seconds, one dot per turn"
    charts = [
        _chart(first_title, dot_chart(first, unit="s", title=first_title)),
        _chart(whole_title, dot_chart(durations, unit="s", title=whole_title)),
        _chart("cost in US dollars", bar_chart(bars, title="cost in US dollars")),
    ]
    return [chart for chart in charts if chart["picture"]]


def _chart(title: str, picture: str) -> dict[str, Any]:
    from markupsafe import Markup

    # The drawing functions escape the texts that they draw.
    return {"title": title, "picture": Markup(picture)}  # noqa: S704


def _picture(trace: Mapping[str, Any]) -> Any:
    """Return the timeline of a turn, from the data of its trace."""
    from markupsafe import Markup

    legs = tuple(
        LegTrace(**_known(LegTrace, {**leg, "usage": leg["usage"] and Usage(**leg["usage"])}))
        for leg in trace["legs"]
    )
    return Markup(svg(Trace(**_known(Trace, {**trace, "legs": legs}))))  # noqa: S704


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that `kind` has: a saved report may come from another version."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _suite(script: Mapping[str, Any]) -> ET.Element:
    cases = [_case(script, turn) for turn in script["turns"]]
    if script["stopped"]:
        title = _clean(script["title"])
        rest = ET.Element("testcase", name="remaining turns", classname=title, time="0")
        ET.SubElement(rest, "skipped", message=_clean(script["stopped"]))
        cases.append(rest)
    suite = ET.Element(
        "testsuite",
        name=_clean(script["title"]),
        file=_clean(script["source"]),
        time=f"{script['duration_s']:.3f}",
        tests=str(len(cases)),
    )
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def _case(script: Mapping[str, Any], turn: Mapping[str, Any]) -> ET.Element:
    reply = turn["reply"]
    seconds = reply["timings"]["duration_s"] if reply else 0.0
    case = ET.Element(
        "testcase",
        name=_clean(f"turn {turn['turn']}: {turn['say'][:80]}"),
        classname=_clean(script["title"]),
        file=_clean(script["source"]),
        line=str(turn["line"]),
        time=f"{seconds:.3f}",
    )
    if turn["error"] is not None:
        ET.SubElement(case, "error", message=_clean(turn["error"]))
    elif turn["failures"]:
        lines = [
            f"expected {failure['expected']}; got {failure['actual']}"
            for failure in turn["failures"]
        ]
        failure = ET.SubElement(case, "failure", message=_clean(lines[0]))
        failure.text = _clean("\n".join(lines))
    if lines := [*_call_lines(turn), *([reply["text"]] if reply else [])]:
        ET.SubElement(case, "system-out").text = _clean("\n".join(lines))
    return case


def _call_lines(turn: Mapping[str, Any]) -> list[str]:
    """Return the calls of a turn; a report of an earlier version has none."""
    return [
        f"{call['identity'] or call['tool']}({call['arguments']}) {call['state']}: {call['text']}"
        for call in turn.get("calls", ())
    ]


def _clean(text: str) -> str:
    return _FORBIDDEN_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
