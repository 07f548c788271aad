"""The page of a report: self-contained, complete, and without anything that can run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from vanta.runtime import Runtime
from vanta.testing import ScriptedEngine
from vanta_scripts import Script, Suite, html_report, parse_script
from vanta_scripts.reports.figures import compared_figures, comparison

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]
EVIL = "<script>alert(1)</script> & <img src=x onerror=y>"
_VOID = {"meta"}


class Tags(HTMLParser):
    """Collects the tags of a page, and checks that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def report_of(runtime: Runtime, *scripts: Script) -> dict[str, Any]:
    return (await Suite(runtime, scripts).run()).to_dict()


async def page_of(vanta_runtime: Open, scripted: Make) -> str:
    runtime = await vanta_runtime(
        local=scripted(EVIL),
        api=scripted("plain"),
        tracks={"api": {"output_usd_per_mtok": 10}},
    )
    script = parse_script(
        "name: <b>evil</b>\nmatrix: {track: [local, api]}\n"
        "turns:\n- {say: <i>hi</i>, expect: {contains: plain}}\n- {say: b, track: nowhere}"
    )
    report = await report_of(runtime, script)
    return html_report(report, before=report)


async def test_the_page_is_complete_and_well_formed(vanta_runtime: Open, scripted: Make) -> None:
    page = await page_of(vanta_runtime, scripted)
    tags = Tags(page)
    assert tags.open == []
    parts = (
        "vanta run:", "Variants", "Compared with before", "track=api", "US dollars",
        "first text, p95", "expected a reply that contains", "no track is named",
    )  # fmt: skip
    for part in parts:
        assert part in page, part
    assert page.count('role="img"') >= 6


async def test_nothing_on_the_page_runs_or_is_fetched(vanta_runtime: Open, scripted: Make) -> None:
    page = await page_of(vanta_runtime, scripted)
    tags = Tags(page)
    assert not tags.seen & {"script", "img", "link", "iframe", "i", "object"}
    assert not [name for name, _ in tags.attributes if name in ("src", "href", "onerror")]
    urls = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert urls <= {"http://www.w3.org/2000/svg"}
    assert "&lt;script&gt;alert(1)" in page


async def test_a_comparison_marks_the_better_run(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("plain"), policy="local")
    good = await report_of(
        runtime, parse_script("name: a\nturns: [{say: a, expect: {contains: plain}}]")
    )
    bad = await report_of(
        runtime, parse_script("name: a\nturns: [{say: a, expect: {contains: else}}]")
    )
    table = {row.name: row for row in comparison(compared_figures(good, bad))}
    assert table["passed turns"].values == ("0.0%", "100.0%")
    assert table["passed turns"].best == (1,)
    assert table["cost"].best == ()
    assert table["turns won by local"].values == ("1", "1")


def test_a_figure_that_was_not_measured_is_not_zero() -> None:
    nothing: dict[str, Any] = {
        "pass_rate": None, "first_p50_s": None, "first_p95_s": None, "p50_s": None,
        "p95_s": None, "cost_usd": 0.0, "wins": {},
    }  # fmt: skip
    assert {row.values for row in comparison({"a": nothing})} == {("-",), ("$0.000000",)}
