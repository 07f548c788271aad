"""Long messages are searched in slices on a thread; what cannot be searched stays private."""

from __future__ import annotations

import random

import anyio
import pytest

from vanta.privacy import (
    OVERLAP_CHARACTERS,
    QUICK_CHARACTERS,
    SEARCHED_CHARACTERS,
    SLICE_CHARACTERS,
    TOO_LATE,
    TOO_LONG,
    Detector,
    search_message,
)
from vanta.testing import LoadMeter
from vanta_privacy import vanta_detectors

pytestmark = pytest.mark.anyio

TOKEN = "eyJhbGciOiJIUzI1NiJ9." + "aB3" * 2000 + "." + "cD4" * 1500


def detectors() -> list[Detector]:
    return list(vanta_detectors())


async def searched(text: str, seconds: float = 60.0) -> str | None:
    return await search_message(text, detectors(), anyio.current_time() + seconds)


@pytest.mark.parametrize("secret", ["ada@example.org", TOKEN, "password: hunter2-Zx9!"])
@pytest.mark.parametrize(
    "at",
    [
        0,
        QUICK_CHARACTERS,
        SLICE_CHARACTERS - 5,
        SLICE_CHARACTERS - OVERLAP_CHARACTERS - 3,
        2 * SLICE_CHARACTERS - OVERLAP_CHARACTERS - 8,
        150_000,
    ],
)
async def test_a_finding_at_any_place_of_a_long_message_is_found(secret: str, at: int) -> None:
    before = ("lorem ipsum " * (at // 12 + 1))[:at]
    text = f"{before} {secret} " + "dolor sit " * 10_000
    assert await searched(text) is not None


async def test_a_long_message_without_findings_stays_public() -> None:
    assert await searched("lorem ipsum dolor sit amet, " * 10_000) is None


async def test_a_cut_between_slices_makes_no_finding() -> None:
    numbers = " ".join(str(number) for number in range(100_000, 150_000))
    assert await searched(numbers[: SLICE_CHARACTERS // 2]) is None
    assert await searched(numbers) is None


async def test_a_message_that_is_too_long_to_be_searched_is_private() -> None:
    assert await searched("x " * SEARCHED_CHARACTERS) == TOO_LONG


async def test_a_search_that_takes_too_long_makes_its_turn_private() -> None:
    assert await searched("x " * 100_000, seconds=-1.0) == TOO_LATE


async def test_without_detectors_nothing_is_searched() -> None:
    assert await search_message("x " * SEARCHED_CHARACTERS, [], 0.0) is None


JUNK = {
    "digits": "4 1 1 1-2 ",
    "words": "password token secret ",
    "signs": "@.@.:/-_",
    "keys": "sk- eyJ ghp_ ",
    "quotes": '"\'`key="',
    "wide": "密码\uff11\uff12\u00a0",
}


@pytest.mark.parametrize("junk", JUNK)
async def test_the_worst_junk_holds_up_neither_the_loop_nor_the_turn(junk: str) -> None:
    text = JUNK[junk] * (300_000 // len(JUNK[junk]))
    async with LoadMeter() as load:
        await searched(text)
    assert load.longest_stall_s < 0.5
    assert load.longest_busy_s < 0.15


async def test_random_junk_is_searched_in_linear_time() -> None:
    letters = "aA1 .-_@:/=\"'(+)\n\u00e9"
    text = "".join(random.Random(1).choices(letters, k=200_000))  # noqa: S311
    async with LoadMeter() as load:
        await searched(text)
    assert load.longest_busy_s < 0.15
