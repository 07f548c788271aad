"""What the demo does, as data: its turns, and the configuration that they run under.

Invariant: what is simulated is in `Stage` and nowhere else, so what the demo says of it is true.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta.cli.demo.loopback_server import Loopback

MODEL = "smollm2-135m-instruct"
CUT_AFTER = 9
NET_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """One turn. shows: what there is to see."""

    policy: str
    say: str
    shows: str


TURNS = (
    DemoTurn(
        "race",
        "What is the capital of France?",
        "Both tracks start at once. The first text to read wins, the other is stopped.",
    ),
    DemoTurn(
        "prefer",
        "What is this city famous for?",
        "The api is wanted, and local runs beside it as the net: if the api speaks within "
        f"{NET_S:g} s, it wins, else local does.",
    ),
    DemoTurn(
        "cascade",
        "Which museum should I visit there?",
        "Local answers first; its answer has to pass a gate before anyone sees it. A strict one "
        "turns it down, and the api answers.",
    ),
    DemoTurn(
        "takeover",
        "Describe the city in two sentences.",
        f"The api speaks, and its connection is cut after {CUT_AFTER} tokens, in the middle of the "
        "sentence. Local goes on from there: nothing is lost, nothing is said twice.",
    ),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """Who plays. threads: of each engine. api: the simulated api, None if the real one is
    configured. cut: the server that breaks off."""

    model: str
    threads: int
    api: Loopback | None
    cut: Loopback

    def config(self, store_url: str) -> dict[str, Any]:
        """The configuration of the demo, on top of the default one."""
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
                # Held so long that the track which breaks is sure to speak first.
                "takeover": {"base": "prefer", "tracks": ["api-cut", "local"], "hold_s": 30.0},
            },
        }

    def described(self) -> dict[str, Any]:
        """What is real and what is simulated, as JSON-ready data."""
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
            simulated["prices"] = "those of gpt-4o-mini; nobody is billed"
        simulated["takeover"] = (
            f"the track api-cut is {served}, and is told to cut the connection after "
            f"{self.cut.cut_after} tokens"
        )
        return {"real": real, "simulated": simulated}


def half_the_cores() -> int:
    """Two legs on one machine: with all cores for each, both would stand in each other's way."""
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
        # The name of no variable: the user's own key is not for this server.
        "options": {"base_url": server.base_url, "api_key_env": "VANTA_DEMO_NO_KEY"},
    }
