"""A report as one HTML file: verdicts, plots, transcripts with the timeline of every turn.

Invariant: the page is whole in itself (no script, no font, no picture from elsewhere), readable on
a light and on a dark ground, and everything that a model or a server said is escaped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from vanta.drawing import svg
from vanta.events import LegTrace, Trace
from vanta.messages import Usage
from vanta_scripts.comparison import Row, rows, sides_of
from vanta_scripts.plots import bars, dots

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #59636e; --line: #d1d9e0;
  --ground: #fff; --soft: #f6f8fa; --good: #1a7f37; --bad: #cf222e; --bar: #2b7fd4 }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --quiet: #9198a1; --line: #3d444d;
  --ground: #0d1117; --soft: #151b23; --good: #3fb950; --bad: #f85149 } }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
.good { color: var(--good) } .bad { color: var(--bad) } .quiet { color: var(--quiet) }
table { border-collapse: collapse; width: 100% } td, th { padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); text-align: left } .number { text-align: right }
details { border: 1px solid var(--line); border-radius: 8px; margin: .6rem 0; overflow: hidden }
summary { cursor: pointer; padding: .55rem .9rem; background: var(--soft) }
.turn { padding: .7rem .9rem; border-top: 1px solid var(--line) }
.said { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 .5rem }
.who { font-size: .8rem; color: var(--quiet) }
.failure { border-left: 3px solid var(--bad); padding: .2rem .8rem; margin: .5rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft);
  font: .85rem/1.5 ui-monospace, monospace }
.recalled { border: 0; margin: 0 0 .5rem; font-size: .9rem } .recalled summary { padding: 0;
  background: none; color: var(--quiet); font-size: .8rem } .recalled ul { margin: .2rem 0;
  padding-left: 1.2rem; white-space: pre-wrap; overflow-wrap: anywhere }
.call { font-family: ui-monospace, monospace; font-size: .85rem; margin: .2rem 0 .5rem }
.scroll { overflow-x: auto } figure { margin: 1rem 0 } figcaption { color: var(--quiet) }
svg { max-width: 100%; height: auto } .plot text { font-size: 13px; fill: var(--ink) }
.plot .quiet { fill: var(--quiet) } .plot .grid { stroke: var(--line) }
.plot .bar { fill: var(--bar); fill-opacity: .75 }
"""


def html(report: Mapping[str, Any], *, before: Mapping[str, Any] | None = None) -> str:
    """The page of a report; before: an earlier one to compare it with."""
    verdict = "passed" if report["passed"] else "failed"
    style = "good" if report["passed"] else "bad"
    body = [
        f"<h1>vanta run: <span class='{style}'>{verdict}</span></h1>",
        f"<p class='quiet'>{escape(_sum(report))}</p>",
        *_comparisons(report, before),
        *_plots(report),
        "<h2>Scripts</h2>",
        *(_script(script) for script in report["scripts"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>vanta run: {verdict}</title><style>{_STYLE}</style></head>\n<body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _sum(report: Mapping[str, Any]) -> str:
    told = report["figures"]
    passed = sum(outcome["passed"] for outcome in report["outcomes"])
    parts = [
        f"{passed} of {len(report['outcomes'])} scripts",
        f"{told['passed_turns']} of {told['turns']} turns",
        f"{report['duration_s']:.1f} s",
        f"${report['cost_usd']:.6f}".rstrip("0").rstrip("."),
    ]
    return " · ".join(parts) + (f" · stopped: {report['stopped']}" if report["stopped"] else "")


def _comparisons(report: Mapping[str, Any], before: Mapping[str, Any] | None) -> Iterator[str]:
    if before is not None:
        yield from _comparison("Compared with before", sides_of(report, before))
    variants = sides_of(report)
    if len(variants) > 1:
        yield from _comparison("Variants", variants)


def _comparison(title: str, sides: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield f"<h2>{escape(title)}</h2>"
    yield _table(rows(sides), list(sides))
    rates = {
        name: (one["pass_rate"] or 0.0, f"{one['pass_rate'] or 0:.0%}")
        for name, one in sides.items()
    }
    yield bars(rates, title="turns that passed", full=1.0)


def _table(lines: Sequence[Row], sides: Sequence[str]) -> str:
    head = "".join(f"<th class='number'>{escape(side)}</th>" for side in sides)
    body = "".join(
        f"<tr><td>{escape(line.name)}</td>"
        + "".join(f"<td class='number'>{escape(value)}</td>" for value in line.values)
        + "</tr>"
        for line in lines
    )
    return f"<div class='scroll'><table><tr><th></th>{head}</tr>{body}</table></div>"


def _plots(report: Mapping[str, Any]) -> Iterator[str]:
    took: dict[str, list[tuple[str, float, str]]] = {}
    first: dict[str, list[tuple[str, float, str]]] = {}
    spent: dict[str, float] = {}
    for script in report["scripts"]:
        spent[script["title"]] = spent.get(script["title"], 0.0) + script["cost_usd"]
        for turn in script["turns"]:
            reply = turn["reply"]
            if reply:
                times, told = reply["timings"], f"turn {turn['turn']}, {reply['track']}"
                point = (reply["track"], times["duration_s"], told)
                took.setdefault(script["title"], []).append(point)
                if times["first_content_s"] is not None:
                    point = (reply["track"], times["first_content_s"], told)
                    first.setdefault(script["title"], []).append(point)
    if took:
        yield "<h2>Times and money</h2>"
    yield dots(first, unit="s", title="seconds to the first text, a dot a turn")
    yield dots(took, unit="s", title="seconds to the end, a dot a turn")
    paid = {title: (usd, f"${usd:.6f}") for title, usd in spent.items() if usd}
    yield bars(paid, title="US dollars")


def _script(script: Mapping[str, Any]) -> str:
    sign = "<span class='good'>✓</span>" if script["passed"] else "<span class='bad'>✗</span>"
    number = f" · run {script['number']}" if script["number"] > 1 else ""
    stopped = f" · stopped: {script['stopped']}" if script["stopped"] else ""
    told = f"{script['source']}{number} · {script['duration_s']:.2f} s{stopped}"
    turns = "".join(map(_turn, script["turns"]))
    return (
        f"<details{'' if script['passed'] else ' open'}><summary>{sign} "
        f"<b>{escape(script['title'])}</b> <span class='quiet'>{escape(told)}</span></summary>"
        f"{turns}</details>"
    )


def _turn(turn: Mapping[str, Any]) -> str:
    reply = turn["reply"]
    parts = [f"<div class='who'>turn {turn['turn']}, said</div>", _said(turn["say"])]
    if reply:
        who = f"{reply['track']} ({reply['model']}), {reply['timings']['duration_s']:.2f} s"
        parts += [*_recalled(turn), f"<div class='who'>{escape(who)}</div>", _said(reply["text"])]
        parts += [f"<div class='call'>{escape(_call(one))}</div>" for one in reply["tool_calls"]]
    parts += [f"<div class='failure'>{escape(_told(one))}</div>" for one in turn["failures"]]
    if turn.get("note"):
        parts.append(f"<div class='who'>{escape(turn['note'])}</div>")
    if turn["error"] is not None:
        parts.append(f"<div class='failure'>{escape(turn['error'])}</div>")
    if reply and reply["trace"]["legs"]:
        parts.append(f"<div class='scroll'>{svg(_trace(reply['trace']))}</div>")
    return f"<div class='turn'>{''.join(parts)}</div>"


def _recalled(turn: Mapping[str, Any]) -> Iterator[str]:
    """What memory showed the track, folded away; a report of an earlier version has none."""
    shown = turn.get("recalled", ())
    if shown:
        lines = "".join(
            f"<li><b>{escape(one['from'])}</b>: {escape(one['text'])}</li>" for one in shown
        )
        many = "1 memory" if len(shown) == 1 else f"{len(shown)} memories"
        yield f"<details class='recalled'><summary>{many} shown</summary><ul>{lines}</ul></details>"


def _call(call: Mapping[str, Any]) -> str:
    return f"asks for {call['name']}({call['arguments']})"


def _said(text: str) -> str:
    return f"<div class='said'>{escape(text)}</div>"


def _told(failure: Mapping[str, Any]) -> str:
    lines = [f"expected {failure['expected']}", f"came     {failure['came']}", *failure["diff"]]
    return "\n".join(lines)


def _trace(data: Mapping[str, Any]) -> Trace:
    legs = tuple(
        LegTrace(**_known(LegTrace, {**leg, "usage": leg["usage"] and Usage(**leg["usage"])}))
        for leg in data["legs"]
    )
    return Trace(**_known(Trace, {**data, "legs": legs}))


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """What `kind` has a place for: a report may be of another version."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in data.items() if name in names}
