"""`vanta policies list|explain`: when each track starts under which policy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output, tables
from vanta.cli.ground import Ground, ground

if TYPE_CHECKING:
    from vanta.scheduling.policy import LegPlan, Policy

app = typer.Typer(help="List and explain policies.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """List and explain policies."""


@app.command("list")
def list_policies(json: output.JsonOption = False, config: output.ConfigOption = None) -> None:
    """List the policies: vanta's own, those of plugins, and the variants of the configuration.

    --json: a list of objects with name, summary, legs, gate, takeover, last_resort, plugin (null
    for a variant of the configuration) and default.
    """
    here = ground(config)
    policies = here.policies()
    if json:
        output.print_json([_described(policy, here) for policy in policies.values()])
        return
    tables.show(
        ("policy", "what it does", "legs"),
        [
            (
                f"{name} (default)" if name == here.config.policy else name,
                policy.summary,
                ", ".join(map(_leg, policy.legs)),
            )
            for name, policy in policies.items()
        ],
    )


@app.command("explain")
def explain_policy(
    name: Annotated[str, typer.Argument(help="The policy.")],
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Draw a policy as a timeline, and say its rules.

    --json: what `list` has of it, and rules: a list of sentences.
    """
    from vanta.drawing.plan import draw, explain
    from vanta.errors import UnknownName

    here = ground(config)
    policies = here.policies()
    if name not in policies:
        raise UnknownName("policy", name, policies, hint=here.plugins.advice())
    policy = policies[name]
    if json:
        output.print_json({**_described(policy, here), "rules": explain(policy)})
        return
    for line in (f"{name}: {policy.summary}", "", *draw(policy), "", *explain(policy)):
        tables.line(line)


def _described(policy: Policy, here: Ground) -> dict[str, Any]:
    variant = policy.name in here.config.policies
    return {
        **dataclasses.asdict(policy),
        "plugin": None if variant else here.plugins.policies.origin(policy.name),
        "default": policy.name == here.config.policy,
    }


def _leg(leg: LegPlan) -> str:
    """A leg in a few words: `api after 0.5 s or as learned`."""
    start = leg.start_after_s
    learned = " or as learned" if leg.delay_quantile is not None else ""
    words = (
        "if needed" if start is None else f"after {start:g} s{learned}" if start else "",
        "" if leg.when == "always" else f"for {leg.when} messages",
        "held back" if leg.hold_s is None else f"held for {leg.hold_s:g} s" if leg.hold_s else "",
        "judged" if leg.commit_on == "verdict" else "",
        "amends" if leg.amends else "",
    )
    return " ".join([leg.track, ", ".join(filter(None, words))]).strip()
