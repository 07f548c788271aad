"""Values that a caller passes: each field refuses what is not possible, wherever it comes from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta.config import Config, load
from vanta.engine import Sampling
from vanta.errors import ConfigError, InvalidValue, ScriptError, UsageError
from vanta.money import Caps
from vanta.runtime.options import TurnOptions
from vanta.scheduling.policy import GateRule, LegPlan, Policy
from vanta.testing import ScriptedEngine
from vanta_scripts import parse_script

pytestmark = pytest.mark.anyio

NUMBERS = (
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "typical_p", "repeat_penalty"),
    *("presence_penalty", "frequency_penalty", "dry_multiplier", "seed", "logprobs"),
)
NOT_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, True, False, "1", "", [1], {}, 10**400]
NEGATIVE = {name for name in NUMBERS if name not in {"presence_penalty", "frequency_penalty"}}
NEGATIVE -= {"seed"}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda value: repr(value)[:12])
def test_every_number_refuses_what_is_not_one(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=rf"sampling\.{name} must be a .*number from"):
        Sampling(**{name: value})


@pytest.mark.parametrize("name", sorted(NEGATIVE))
def test_a_negative_number_is_refused(name: str) -> None:
    values: dict[str, Any] = {name: -(10**9)}
    with pytest.raises(InvalidValue, match=name):
        Sampling(**values)


def test_counts_are_whole_and_at_least_one() -> None:
    wrong: list[dict[str, Any]] = [{"max_tokens": 0}, {"max_tokens": 1.0}, {"top_k": 1.5}]
    for values in [*wrong, {"seed": 3.0}]:
        with pytest.raises(InvalidValue, match="whole number"):
            Sampling(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"stop": "END"},
        {"stop": ("",)},
        {"stop": (1,)},
        {"stop": None},
        {"logit_bias": [1]},
        {"logit_bias": {"a": 1.0}},
        {"logit_bias": {True: 1.0}},
        {"logit_bias": {-1: 1.0}},
        {"logit_bias": {1: math.nan}},
        {"logit_bias": {1: None}},
        {"logit_bias": {1: "2"}},
        {"grammar": b"root"},
        {"json_schema": "object"},
    ],
)
def test_the_other_fields_refuse_other_types(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=f"sampling.{next(iter(values))}"):
        Sampling(**values)


def test_the_edges_of_the_ranges_are_allowed() -> None:
    sampling = Sampling(
        max_tokens=1, temperature=0, top_p=0.0, top_k=0, seed=-1, logit_bias={0: -math.inf}
    )
    assert sampling.temperature == 0
    assert Sampling(stop=("END",), logprobs=20, repeat_penalty=1).logprobs == 20


def test_the_message_is_short_and_says_what_to_write() -> None:
    with pytest.raises(UsageError, match="from 1 to") as error:
        Sampling(max_tokens="x" * 10_000)  # type: ignore[arg-type]
    assert len(str(error.value)) < 200


def test_a_configuration_names_the_place(tmp_path: Path) -> None:
    for field, value in (("temperature", math.inf), ("logit_bias", {"5": math.nan})):
        track = {"engine": "openai", "model": "m", "sampling": {field: value}}
        with pytest.raises(ConfigError, match="sampling"):
            load({"data_dir": str(tmp_path), "tracks": {"api": track}})


DEADLINES: list[Any] = [math.nan, math.inf, -1, 0, -0.0, True, "5", "soon", [5], 10**400]


@pytest.mark.parametrize("deadline", DEADLINES, ids=lambda value: repr(value)[:12])
def test_options_refuse_a_deadline_that_is_not_one(deadline: Any) -> None:
    with pytest.raises(InvalidValue, match="deadline_s must be a number of seconds above 0"):
        TurnOptions(deadline_s=deadline)


@pytest.mark.parametrize("deadline", [math.nan, -1, "soon"])
async def test_a_turn_refuses_it_before_anything_is_sent(tmp_path: Path, deadline: Any) -> None:
    engine = ScriptedEngine("hi")
    async with open_scripted(tmp_path, local=engine) as runtime:
        session = runtime.session("s")
        with pytest.raises(InvalidValue):
            await session.ask("hi", policy="local", deadline_s=deadline)
        with pytest.raises(InvalidValue):
            async with session.stream("hi", policy="local", deadline_s=deadline):
                pass
        reply = await session.ask("hi", policy="local", deadline_s=30)
    assert (reply.text, len(engine.runs)) == ("hi", 1)


def test_the_synchronous_facade_refuses_it(tmp_path: Path) -> None:
    with vanta.open(data_dir=str(tmp_path), tracks={"api": {"enabled": False}}) as runtime:
        for deadline in (math.nan, -1, "soon"):
            with pytest.raises(InvalidValue):
                runtime.session("s").ask("hi", deadline_s=deadline)  # type: ignore[arg-type]


@pytest.mark.parametrize("deadline", [math.nan, math.inf, -1, "5", True])
def test_the_configuration_refuses_it(tmp_path: Path, deadline: Any) -> None:
    with pytest.raises(ConfigError, match="deadline_s"):
        load({"data_dir": str(tmp_path), "deadline_s": deadline})
    assert Config.model_validate({"deadline_s": 5.0}).deadline_s == 5.0


@pytest.mark.parametrize("deadline", [".nan", ".inf", "-1", "0", "soon", "'5'"])
def test_a_script_refuses_it(deadline: str) -> None:
    for text in (
        f"name: a\ndeadline_s: {deadline}\nturns: [{{say: hi}}]",
        f"name: a\nturns: [{{say: hi, deadline_s: {deadline}}}]",
        "name: a\nsampling: {temperature: 1000}\nturns: [{say: hi}]",
    ):
        with pytest.raises(ScriptError, match=r"deadline_s|temperature"):
            parse_script(text)


WRONG: list[Any] = [math.nan, -1.0, "1", True]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_caps_policies_and_gates_refuse_what_is_not_a_number(value: Any) -> None:
    """A comparison with such a value is false, which would open a cap or stop a clock."""
    for scope in ("turn", "session", "user", "day"):
        with pytest.raises(InvalidValue, match=f"{scope}_usd"):
            Caps(**{f"{scope}_usd": value})
    for field in ("start_after_s", "delay_quantile", "hold_s"):
        with pytest.raises(InvalidValue, match=field):
            LegPlan("api", **{field: value})
    for field in ("route_share", "max_extra_share"):
        with pytest.raises(InvalidValue, match=field):
            Policy("p", "", (LegPlan("api"),), **{field: value})
    with pytest.raises(InvalidValue, match="min_probability"):
        GateRule(min_probability=value)
