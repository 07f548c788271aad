"""The demo as data: its turns, and the configuration that they run under.

Invariant: only `DemoScene` decides what is simulated, so its description is complete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta.cli.demo.loopback_server import Loopback
from vanta.cli.demo.shared_call import POLICY

MODEL = "smollm2-135m-instruct"
CUT_AFTER = 9
NET_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """One turn of the demo, with a description of what it shows."""

    policy: str
    message: str
    shows: str


TURNS = (
    DemoTurn(
        "race",
        "What is the capital of France?",
        "Both tracks start at once. The first readable text wins, the other track is stopped.",
    ),
    DemoTurn(
        "prefer",
        "What is this city famous for?",
        "The api is preferred, and local runs beside it as a safety net: if the api answers "
        f"within {NET_S:g} s, it wins; otherwise local does.",
    ),
    DemoTurn(
        "cascade",
        "Which museum should I visit there?",
        "Local answers first; its answer must pass a gate before it is shown. A strict gate "
        "rejects it, and the api answers.",
    ),
    DemoTurn(
        "takeover",
        "Describe the city in two sentences.",
        f"The api answers, and its connection is cut after {CUT_AFTER} tokens, in the middle of "
        "the sentence. Local continues from there: nothing is lost and nothing comes twice.",
    ),
)


EQUAL_CALLS = DemoTurn(
    POLICY,
    "What time is it?",
    "Both tracks want the same call. It starts for the first of them, runs once, and the other one "
    "gets its result.",
)
"""The turn of `shared_call`, on tracks that follow a script."""


@dataclass(frozen=True, slots=True)
class DemoScene:
    """The model and the servers of a demo.

    :param model: the local model.
    :param threads: the threads of each engine.
    :param api: the simulated api, or None if a real one is configured.
    :param cut: the server that cuts its answers.
    """

    model: str
    threads: int
    api: Loopback | None
    cut: Loopback

    def config(self, store_url: str) -> dict[str, Any]:
        """Return the demo's configuration, which is merged into the default one."""
        sampling = {"temperature": 0.0, "max_tokens": 64}
        options = {"threads": self.threads}
        local = {"model": self.model, "window": 2048, "sampling": sampling, "options": options}
        api: dict[str, Any] = {"sampling": {"max_tokens": 64}}
        if self.api is not None:
            api = _served(self.api, sampling)
        return {
            "policy": "race",
            "system": "short",
            "store_url": store_url,
            "tracks": {"local": local, "api": api, "api-cut": _served(self.cut, sampling)},
            "policies": {
                "prefer": {"hold_s": NET_S},
                "cascade": {"gate": {"min_mean_logprob": -0.05}},
                # Held long enough that the track which breaks certainly answers first.
                "takeover": {"base": "prefer", "tracks": ["api-cut", "local"], "hold_s": 30.0},
            },
        }

    def describe(self) -> dict[str, Any]:
        """Return what is real and what is simulated, as JSON-ready data."""
        served = f"{self.model} again, in another process on this machine, over real HTTP"
        real = {"local": f"{self.model} with llama.cpp, in this process"}
        simulated = {}
        if self.api is None:
            real["api"] = "the server and the model that OPENAI_* name; its tokens are billed"
        else:
            simulated["api"] = (
                f"no OPENAI_API_KEY is set: the track api is {served}, with {self.api.delay_s:g} s "
                "of delay before each answer"
            )
            simulated["prices"] = "those of gpt-4o-mini; nothing is billed"
        simulated["takeover"] = (
            f"the track api-cut is {served}, and cuts the connection after "
            f"{self.cut.cut_after} tokens"
        )
        simulated[POLICY] = (
            "both tracks of the last turn follow a script, since a model this small rarely asks "
            "for a call; the race, the rules and the tool are real"
        )
        return {"real": real, "simulated": simulated}


def half_the_cores() -> int:
    """Return half of the cores: two legs with all cores each would slow each other down."""
    return max(1, (os.cpu_count() or 1) // 2)


def _served(server: Loopback, sampling: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "engine": "openai",
        "model": server.model,
        "window": 2048,
        "reply_reserve": 512,
        "input_usd_per_mtok": 0.15,
        "output_usd_per_mtok": 0.60,
        "sampling": dict(sampling),
        # No variable has this name, so the user's own key never reaches this server.
        "options": {"base_url": server.base_url, "api_key_env": "VANTA_DEMO_NO_KEY"},
    }
