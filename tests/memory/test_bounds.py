"""Texts of megabytes: refused, cut or sampled, and never slow for the event loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.memory.home import home
from vanta.errors import UsageError
from vanta.memory import NewItem, Question, Scope
from vanta.memory.dates.resolution import SLICE_CHARACTERS, resolve_dates
from vanta.memory.items import ITEM_CHARACTERS, QUESTION_CHARACTERS
from vanta.testing import LoadMeter

pytestmark = pytest.mark.anyio

ADA = Scope("ada")


async def test_an_item_of_more_than_a_million_characters_is_refused_as_a_whole(
    tmp_path: Path,
) -> None:
    async with home(tmp_path) as ada:
        items = [NewItem("ada", "fact", text, 0.0) for text in ("short", "x" * 1_000_001)]
        with pytest.raises(UsageError, match="chunk_document"):
            await ada.memory.add(items)
        assert await ada.memory.newest(ADA) == []


async def test_of_a_longer_message_the_beginning_is_remembered(tmp_path: Path) -> None:
    async with home(tmp_path) as ada:
        await ada.say("quokka " + "x " * ITEM_CHARACTERS)
        items = await ada.memory.newest(ADA)
        assert [len(item.text) for item in items] == [ITEM_CHARACTERS, len("I see.")]
        assert (await ada.texts("quokka"))[0].startswith("quokka")


def test_of_a_long_question_both_ends_are_searched_for() -> None:
    text = "begin " + "x" * 1_000_000 + " end"
    short = Question(text, ADA, session="s", confidential=True).shortened()
    assert (short.text[:6], short.text[-4:]) == ("begin ", " end")
    assert len(short.text) == QUESTION_CHARACTERS + 1
    assert (short.session, short.confidential) == ("s", True)
    assert Question("hello", ADA).shortened() == Question("hello", ADA)


async def test_a_question_of_megabytes_is_answered_in_time(tmp_path: Path) -> None:
    async with home(tmp_path) as ada:
        await ada.say("the quokka lives in Rottnest")
        await ada.texts("warm up")
        async with LoadMeter() as load:
            found = await ada.texts("quokka " + "lorem ipsum " * 500_000)
    assert found[0].startswith("the quokka")
    assert load.longest_busy_s < 0.15


def test_the_dates_of_a_long_text_are_those_of_its_slices() -> None:
    filler = "lorem ipsum " * (2 * SLICE_CHARACTERS // 12)
    dates = resolve_dates(f"yesterday {filler} last week {filler} yesterday", 1_700_000_000.0)
    assert list(dates) == ["yesterday", "last week"]
