"""A report as JUnit XML, for build servers: a suite a run of a script, a case a turn.

Invariant: made from `RunReport.to_dict()`; characters that XML has no place for are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Mapping[str, Any]) -> str:
    """The XML text of a report."""
    scripts = report["scripts"]
    root = ET.Element("testsuites", name="vanta run", time=f"{report['duration_s']:.3f}")
    for script in scripts:
        root.append(_suite(script))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, 0)) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(script: Mapping[str, Any]) -> ET.Element:
    cases = [_case(script, turn) for turn in script["turns"]]
    if script["stopped"]:
        rest = ET.Element("testcase", name="the rest", classname=_clean(script["title"]), time="0")
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
        told = [f"expected {one['expected']}; came {one['came']}" for one in turn["failures"]]
        failure = ET.SubElement(case, "failure", message=_clean(told[0]))
        failure.text = _clean("\n".join(told))
    if reply:
        ET.SubElement(case, "system-out").text = _clean(reply["text"])
    return case


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
