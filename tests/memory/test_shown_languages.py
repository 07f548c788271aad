"""What a track is shown in ten languages, by words and MiniLM: what fits, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import vanta
from vanta.memory import NewItem, Question, Scope
from vanta.memory.search.relevance import MIN_RELEVANCE
from vanta.models import ModelStore, default_root

pytestmark = pytest.mark.anyio

# Facts, of which the one at SISTER answers the last question; the other questions fit none.
SISTER = 2
LANGUAGES = {
    "Chinese": (
        ["我喜欢喝绿茶。", "昨天我去了超市买牛奶。", "我妹妹住在里斯本。", "我对花生过敏。"],
        ["你好!", "法国的首都是哪里?", "写一首诗", "谢谢", "我妹妹住在哪里?"],
    ),
    "Japanese": (
        ["緑茶が好きです。", "昨日スーパーで牛乳を買いました。", "妹はリスボンに住んでいます。"],
        ["こんにちは!", "フランスの首都はどこですか?", "冗談を言って", "妹はどこに住んでいますか?"],
    ),
    "Korean": (
        ["녹차를 좋아해요.", "어제 마트에서 우유를 샀어요.", "여동생은 리스본에 살아요."],
        ["안녕하세요!", "프랑스의 수도는 어디예요?", "농담 하나 해 줘", "여동생은 어디에 살아요?"],
    ),
    "Russian": (
        ["Я люблю зелёный чай.", "Вчера я купил молоко.", "Моя сестра живёт в Лиссабоне."],
        ["Привет!", "Какая столица Франции?", "Расскажи шутку", "Где живёт моя сестра?"],
    ),
    "Arabic": (
        ["أحب الشاي الأخضر.", "اشتريت الحليب أمس من المتجر.", "أختي تعيش في لشبونة."],
        ["مرحبا!", "ما هي عاصمة فرنسا؟", "اكتب قصيدة", "أين تعيش أختي؟"],
    ),
    "German": (
        [
            "Ich trinke gern grünen Tee.",
            "Gestern war ich im Kino.",
            "Meine Schwester wohnt in Rom.",
        ],
        ["Hallo!", "Was ist die Hauptstadt von Frankreich?", "Danke", "Wo wohnt meine Schwester?"],
    ),
    "Spanish": (
        ["Me gusta el té verde.", "Ayer compré leche.", "Mi hermana vive en Lisboa."],
        ["¡Hola!", "¿Cuál es la capital de Francia?", "Gracias", "¿Dónde vive mi hermana?"],
    ),
    "French": (
        ["J'aime le thé vert.", "Hier j'ai acheté du lait.", "Ma sœur habite à Lisbonne."],
        ["Bonjour !", "Quelle est la capitale de l'Espagne ?", "Merci", "Où habite ma sœur ?"],
    ),
    "Turkish": (
        ["Yeşil çayı severim.", "Dün marketten süt aldım.", "Kız kardeşim Lizbon'da yaşıyor."],
        ["Merhaba!", "Fransa'nın başkenti neresi?", "Bir şiir yaz", "Kız kardeşim nerede yaşıyor?"],
    ),
    "English": (
        ["I like green tea.", "Yesterday I bought milk.", "My sister lives in Lisbon."],
        [
            "Hello!",
            "What is the capital of France?",
            "Tell me a joke",
            "Where does my sister live?",
        ],
    ),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("language", LANGUAGES)
async def test_unrelated_questions_are_shown_nothing(language: str, tmp_path: Path) -> None:
    ModelStore(default_root()).pull("all-minilm-l6-v2")
    (tmp_path / "models").symlink_to(default_root())
    facts, (*unrelated, related) = LANGUAGES[language]
    config = {
        "policy": "local",
        "data_dir": str(tmp_path),
        "tracks": {"api": {"enabled": False}},
        "memory": {"embedder": "minilm", "index": "none", "recall_timeout_s": 30},
    }
    async with vanta.open(config) as runtime:
        memory = runtime.memory
        assert memory is not None
        await memory.add([NewItem("ada", "fact", fact, time.time()) for fact in facts])
        assert not await memory.ready(Scope("ada"))

        async def shown(question: str) -> list[str]:
            items = (await memory.recall(Question(question, Scope("ada")))).items
            return [match.item.text for match in items if match.relevance >= MIN_RELEVANCE]

        assert {question: await shown(question) for question in unrelated} == {
            question: [] for question in unrelated
        }
        assert facts[SISTER] in await shown(related)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_shared_han_character_is_no_shared_word(tmp_path: Path) -> None:
    config = {"data_dir": str(tmp_path), "memory": {"embedder": "none"}}
    async with vanta.open(config) as runtime:
        memory = runtime.memory
        assert memory is not None
        await memory.add([NewItem("ada", "fact", "私は犬が好きです。", time.time())])
        (match,) = (await memory.recall(Question("你好!", Scope("ada")))).items
    assert match.relevance < MIN_RELEVANCE
