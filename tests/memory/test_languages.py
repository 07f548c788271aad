"""Recall in many languages, and stores whose terms another version made."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import anyio
import pytest

from benchmarks.memory.languages import MIXED, first_by_language, read_languages, remember
from tests.memory.home import home
from vanta.language import SEGMENTATION
from vanta.memory.items import NewItem, Question, Scope
from vanta.memory.store.forgetting import Selection
from vanta.memory.store.repository import BATCH

pytestmark = pytest.mark.anyio

BINS = "The bins are emptied on Friday."
FACTS = {
    "zh": ("我妹妹安娜住在里斯本，她养了一只叫米索的猫。", ["安娜住在哪里？", "里斯本", "米索"]),
    "ja": (
        "妹のアンナはリスボンに住んでいて、猫の名前はミソです。",
        ["アンナはどこに住んでいますか？", "リスボン", "ミソ"],
    ),
    "th": ("น้องสาวของฉันชื่อแอนนาอาศัยอยู่ที่ลิสบอน", ["แอนนาอาศัยอยู่ที่ไหน", "ลิสบอน"]),
    "ko": ("내 여동생 안나는 리스본에 살아요.", ["안나가 어디에 살아요?", "리스본"]),
    "de": (
        "Meine Großmutter wohnt in der Schlossstraße.",
        ["Wo ist die Schloßstrasse?", "GROSSMUTTER", "Straße", "Schloss"],
    ),
    "tr": ("Kardeşim Işıl İstanbul'da oturuyor.", ["IŞIL nerede oturuyor?", "istanbul"]),
    "nfd": ("Cafe\u0301 Zoe\u0308 o\u0308ffnet um neun.", ["Wann öffnet das Café Zoë?", "cafe"]),
    "he": ("אחותי אנה גרה בליסבון.", ["איפה גרה אנה?", "ליסבון"]),
    "hi": ("मेरी बहन अन्ना लिस्बन में रहती है।", ["अन्ना कहाँ रहती है?", "लिस्बन"]),
    "ar": ("أختي آنا تعيش في لشبونة.", ["أين تعيش آنا؟", "لشبونة"]),
    "km": ("បងស្រីខ្ញុំរស់នៅភ្នំពេញ", ["ភ្នំពេញ"]),
    "el": ("Η αδερφή μου μένει στη Λισαβόνα.", ["ΛΙΣΑΒΟΝΑΣ"]),
}

OLD_TERMS = """
DROP TRIGGER words_added;
DROP TRIGGER words_removed;
DROP TRIGGER memories_added;
DROP TRIGGER memories_removed;
DROP TABLE memories_fts;
DROP TABLE memory_words;
DROP TABLE word_queue;
CREATE VIRTUAL TABLE memories_fts USING fts5(
    text, scope, content = 'memories', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN
    INSERT INTO memories_fts (rowid, text, scope) VALUES (new.id, new.text, new.scope);
    INSERT INTO embedding_queue (memory_id) VALUES (new.id);
END;
CREATE TRIGGER memories_removed AFTER DELETE ON memories BEGIN
    INSERT INTO memories_fts (memories_fts, rowid, text, scope)
    VALUES ('delete', old.id, old.text, old.scope);
    DELETE FROM memory_vectors WHERE memory_id = old.id;
    DELETE FROM embedding_queue WHERE memory_id = old.id;
END;
INSERT INTO memories_fts (memories_fts) VALUES ('rebuild');
DELETE FROM memory_state WHERE key = 'segmentation';
"""
"""Turns a store into one of the version before terms were stored."""


def fact(text: str) -> NewItem:
    """Return a fact of a user, in a session of its own: no neighbour is recalled with it."""
    return NewItem("ada", "fact", text, time.time(), session=text)


def run_sql(folder: Path, script: str) -> None:
    """Run statements on the store of a folder."""
    connection = sqlite3.connect(folder / "vanta.db")
    connection.executescript(script)
    connection.close()


@pytest.mark.parametrize("language", FACTS)
async def test_a_fact_is_found_by_its_words_in_any_script(tmp_path: Path, language: str) -> None:
    text, questions = FACTS[language]
    async with home(tmp_path) as here:
        await here.memory.add([fact(text), fact(BINS)])
        for question in questions:
            items = (await here.memory.recall(Question(question, Scope("ada")))).items
            assert [recalled.item.text for recalled in items] == [text], question


async def test_the_right_memory_comes_first_in_twelve_languages(tmp_path: Path) -> None:
    """By words alone; `vanta bench memory` measures words with MiniLM."""
    languages = read_languages()
    assert len(languages) == 12
    assert all(len(language.questions) >= 10 for language in languages)
    async with home(tmp_path) as here:
        await remember(here.memory, languages)
        apart = await first_by_language(here.memory, languages)
        mixed = await first_by_language(here.memory, languages, MIXED)
    for shares in (apart, mixed):
        assert sum(shares.values()) / len(shares) >= 90, shares
        assert min(shares.values()) >= 80, shares


async def test_texts_that_differ_in_vowel_signs_or_symbols_are_not_repetitions(
    tmp_path: Path,
) -> None:
    pairs = [
        ("मैंने कल पूरा दिन किताब पढ़ी थी।", "मैंने कल पूरा दान किताब पढ़ी थी।"),
        ("I write most of my programs in C++.", "I write most of my programs in C#."),
    ]
    async with home(tmp_path) as here:
        await here.memory.add([fact(text) for pair in pairs for text in pair])
        for first, second in pairs:
            items = (await here.memory.recall(Question(first, Scope("ada")))).items
            assert {first, second} <= {recalled.item.text for recalled in items}


async def test_an_old_store_is_upgraded_without_loss(tmp_path: Path) -> None:
    texts = [text for text, _questions in FACTS.values()]
    notes = [f"Note number {number} of a long list." for number in range(BATCH + 7)]
    async with home(tmp_path) as here:
        await here.memory.add(map(fact, [*texts, *notes]))
        before = [item async for item in here.memory.export()]
    run_sql(tmp_path, OLD_TERMS)
    async with home(tmp_path) as here:
        for text, questions in FACTS.values():
            items = (await here.memory.recall(Question(questions[0], Scope("ada")))).items
            assert items[0].item.text == text
        assert notes[0] in await here.texts("note number 0")
        assert [item async for item in here.memory.export()] == before


async def test_items_that_an_old_process_adds_to_an_upgraded_store_are_found(
    tmp_path: Path,
) -> None:
    """It knows the table of items and not that of terms; a trigger queues its items."""
    async with home(tmp_path) as here:
        await here.memory.add([fact(BINS)])
        run_sql(
            tmp_path,
            "INSERT INTO memories (user, session, turn_id, kind, role, text, said_at, private, "
            "tags, source, dates, scope, digest) SELECT user, 'old', turn_id, kind, role, "
            "'安娜住在里斯本。', said_at, private, tags, source, dates, scope, 'x' FROM memories",
        )
        assert await here.texts("里斯本") == ["安娜住在里斯本。"]


async def test_terms_of_another_version_are_made_again(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.memory.add([fact(BINS)])
    run_sql(
        tmp_path,
        "UPDATE memory_words SET text = 'nothing'; "
        "UPDATE memory_state SET value = '0' WHERE key = 'segmentation'",
    )
    async with home(tmp_path) as here:
        assert await here.texts("Friday") == [BINS]
    connection = sqlite3.connect(tmp_path / "vanta.db")
    query = "SELECT value FROM memory_state WHERE key = 'segmentation'"
    assert connection.execute(query).fetchone() == (SEGMENTATION,)
    connection.close()


async def test_an_item_that_was_hidden_as_a_repetition_is_found_after_the_upgrade(
    tmp_path: Path,
) -> None:
    first, second = "मैंने कल पूरा दिन किताब पढ़ी थी।", "मैंने कल पूरा दान किताब पढ़ी थी।"
    async with home(tmp_path) as here:
        await here.memory.add([fact(first), fact(second)])
    run_sql(tmp_path, OLD_TERMS)
    run_sql(tmp_path, "UPDATE memories SET digest = 'x', same_as = CASE id WHEN 1 THEN 2 END")
    async with home(tmp_path) as here:
        assert set(await here.texts("किताब")) == {first, second}


async def test_forgotten_terms_leave_the_store(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        ids = await here.memory.add([fact("我妹妹安娜住在里斯本。"), fact(BINS)])
        await here.memory.forget(Selection("ada", ids=(ids[0],)))
        assert await here.texts("里斯本") == []
    files = [path async for path in anyio.Path(tmp_path).rglob("*") if await path.is_file()]
    assert files
    for path in files:
        assert "里斯".encode() not in await path.read_bytes()
