"""A policy as a timeline and in sentences: the behaviour of each track, and its conditions.

Invariant: pure functions from a policy to lines of text; the time axis is `WIDTH` columns wide.
Delays and holds are spread evenly, in order, because a policy has no time scale of its own.
"""

from __future__ import annotations

from vanta.scheduling.policy import LegPlan, Policy

WIDTH = 48
WAITS, RUNS, MAY_WIN, START = "┄", "░", "█", "▶"
LEGEND = f"{WAITS} waits  {START} starts  {RUNS} runs, may not win yet  {MAY_WIN} first text wins"


def draw(policy: Policy) -> list[str]:
    """Return the lines of the drawing: an axis, one lane per leg, and a legend."""
    times = _times(policy)
    label = max(len(leg.track) for leg in policy.legs) + 2
    lanes = [f"{leg.track:<{label}}{_lane(leg, times)}" for leg in policy.legs]
    return [" " * label + _axis(times), *lanes, LEGEND]


def explain(policy: Policy) -> list[str]:
    """Return the rules of a policy, one sentence each."""
    sentences = [_sentence(leg) for leg in policy.legs]
    if policy.gate:
        sentences.append(_gate(policy))
    if policy.routes:
        share = f"{policy.route_share:.0%}"
        sentences.append(f"The router classifies about {share} of the messages as hard.")
    if policy.max_extra_share is not None:
        share = f"{policy.max_extra_share:.0%}"
        sentences.append(f"Delayed legs start by the clock in at most {share} of the turns.")
    if len(policy.legs) > 1:
        sentences.append(_TAKEOVER[policy.takeover])
    return sentences


_TAKEOVER = {
    "continue": "If the winner breaks off, the next track continues from the shown text.",
    "restart": "If the winner breaks off, the next track replaces the text with a new answer.",
    "fail": "If the winner breaks off, the turn fails.",
}


def _times(policy: Policy) -> list[float]:
    """Return all delays and holds in order, 0 first."""
    moments = {0.0}
    for leg in policy.legs:
        moments |= {moment for moment in (leg.start_after_s, leg.hold_s) if moment}
    return sorted(moments)


def _column(moment: float, times: list[float]) -> int:
    return times.index(moment) * WIDTH // (len(times) + 1)


def _axis(times: list[float]) -> str:
    line = [" "] * (WIDTH + 12)
    for moment in times:
        text = f"{moment:g} s" if moment else "0"
        column = _column(moment, times)
        line[column : column + len(text)] = text
    return "".join(line).rstrip()


def _lane(leg: LegPlan, times: list[float]) -> str:
    if leg.start_after_s is None:
        return WAITS * WIDTH + " until it is needed"
    begin = _column(leg.start_after_s, times)
    wins = max(begin, WIDTH if leg.hold_s is None else _column(leg.hold_s, times))
    if leg.commit_on == "verdict":
        wins = WIDTH
    lane = WAITS * begin + START + RUNS * (wins - begin - 1)
    return (lane + MAY_WIN * WIDTH)[:WIDTH] + _ending(leg)


def _ending(leg: LegPlan) -> str:
    if leg.commit_on == "verdict":
        return " gate"
    if leg.hold_s is None:
        return " once no other track is left"
    if leg.when != "always":
        return f" if the message is {leg.when}"
    return " then amends" if leg.amends else ""


def _sentence(leg: LegPlan) -> str:
    words = [leg.track, _start(leg)]
    if leg.commit_on == "verdict":
        words.append("and wins with its finished answer, if the gate accepts it")
    elif leg.hold_s is None:
        words.append("and may win once no other track is left")
    elif leg.hold_s:
        words.append(f"and may win after {leg.hold_s:g} s, or once no other track is left")
    else:
        words.append("and wins with its first readable text")
    if leg.amends:
        words.append("; if it loses it still finishes, and corrects the winner if they disagree")
    return " ".join(words).replace(" ;", ";") + "."


def _start(leg: LegPlan) -> str:
    if leg.start_after_s is None:
        return "starts if another track fails or is rejected"
    when = "at once" if not leg.start_after_s else f"after {leg.start_after_s:g} s of silence"
    if leg.delay_quantile is not None:
        when += f" (once learned: after the {leg.delay_quantile:.0%} quantile of the turns)"
    if leg.when != "always":
        when += f" if the message is {leg.when}, or if another track fails"
    return f"starts {when}"


def _gate(policy: Policy) -> str:
    fate = "is still used if no other track answers" if policy.last_resort else "is discarded"
    return f"An answer that the gate {policy.gate.use!r} rejects {fate}." if policy.gate else ""
