"""The cosines of unrelated texts, measured for each writing with a few sentences of its own.

An embedder that was trained on English sees little more than the script of other texts: two
unrelated Russian texts have a higher cosine than two related English ones. So each script has a
scale, and so do the Latin letters of languages other than English. Invariant: the scale of English
depends on the English sentences alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from vanta.language import LATIN
from vanta.memory.embedder import CosineScale, Embedder, Vectors

MIN_DEVIATION = 0.02
"""Least standard deviation of the cosines of unrelated texts in English."""

MIN_OTHER_DEVIATION = 0.05
"""The same in other writings."""

BLIND, BLIND_DEVIATION = 0.01, 0.5
"""A model that does not know a script has one vector for all texts: their cosines deviate by less
than the first, and count as if they deviated by the second. So do those of all scripts without
sentences."""

ENGLISH = (
    "My sister lives near the harbour.",
    "How do I sort a list of numbers?",
    "The recipe needs two eggs and some flour.",
    "He was late because the train broke down.",
    "What is the capital of Norway?",
    "I would like to book a table for four.",
    "The violin is older than the house.",
    "Please send the invoice by Friday.",
    "A whale is not a fish.",
    "We painted the kitchen yellow.",
    "My password does not work any more.",
    "The match ended without a goal.",
    "Which medicine helps against a headache?",
    "It has been raining since Tuesday.",
    "The museum is closed on Mondays.",
    "She is learning to drive a tractor.",
)
"""English sentences that have nothing to do with each other."""

SENTENCES: Mapping[str, tuple[str, ...]] = {
    "de": (
        "Meine Schwester wohnt am Hafen.",
        "Wie sortiere ich eine Liste von Zahlen?",
        "Der Zug war kaputt, deshalb kam er zu spät.",
        "Was ist die Hauptstadt von Norwegen?",
        "Ein Wal ist kein Fisch.",
        "Wir haben die Küche gelb gestrichen.",
        "Danke!",
    ),
    "es": (
        "Mi hermana vive cerca del puerto.",
        "¿Cómo ordeno una lista de números?",
        "Llegó tarde porque el tren se averió.",
        "¿Cuál es la capital de Noruega?",
        "Una ballena no es un pez.",
        "Pintamos la cocina de amarillo.",
        "¡Gracias!",
    ),
    "tr": (
        "Kız kardeşim limana yakın oturuyor.",
        "Bir sayı listesini nasıl sıralarım?",
        "Tren bozulduğu için geç kaldı.",
        "Norveç'in başkenti neresi?",
        "Balina bir balık değildir.",
        "Mutfağı sarıya boyadık.",
        "Teşekkürler!",
    ),
    "han": (
        "我姐姐住在港口附近。",
        "怎么给一列数字排序？",
        "火车坏了，所以他迟到了。",
        "挪威的首都是哪里？",
        "鲸鱼不是鱼。",
        "我们把厨房刷成了黄色。",
        "博物馆星期一不开门。",
        "谢谢！",
    ),
    "kana": (
        "姉は港の近くに住んでいます。",
        "数字のリストを並べ替えるにはどうすればいいですか？",
        "電車が故障したので彼は遅れました。",
        "ノルウェーの首都はどこですか？",
        "クジラは魚ではありません。",
        "台所を黄色に塗りました。",
        "美術館は月曜日が休みです。",
        "ありがとう！",
    ),
    "hangul": (
        "언니는 항구 근처에 살아요.",
        "숫자 목록을 어떻게 정렬하나요?",
        "기차가 고장 나서 그는 늦었어요.",
        "노르웨이의 수도는 어디인가요?",
        "고래는 물고기가 아니다.",
        "우리는 부엌을 노란색으로 칠했다.",
        "박물관은 월요일에 쉽니다.",
        "감사합니다!",
    ),
    "cyrillic": (
        "Моя сестра живёт рядом с портом.",
        "Как отсортировать список чисел?",
        "Он опоздал, потому что поезд сломался.",
        "Какая столица Норвегии?",
        "Кит — это не рыба.",
        "Мы покрасили кухню в жёлтый цвет.",
        "Музей закрыт по понедельникам.",
        "Спасибо!",
    ),
    "arabic": (
        "تسكن أختي بالقرب من الميناء.",
        "كيف أرتب قائمة من الأرقام؟",
        "تأخر لأن القطار تعطل.",
        "ما هي عاصمة النرويج؟",
        "الحوت ليس سمكة.",
        "دهنّا المطبخ باللون الأصفر.",
        "المتحف مغلق يوم الاثنين.",
        "شكرا!",
    ),
    "devanagari": (
        "मेरी बहन बंदरगाह के पास रहती है।",
        "मैं संख्याओं की सूची को कैसे क्रमबद्ध करूँ?",
        "ट्रेन खराब होने से वह देर से आया।",
        "नॉर्वे की राजधानी क्या है?",
        "व्हेल मछली नहीं है।",
        "हमने रसोई को पीला रंग दिया।",
        "संग्रहालय सोमवार को बंद रहता है।",
        "धन्यवाद!",
    ),
    "hebrew": (
        "אחותי גרה ליד הנמל.",
        "איך ממיינים רשימה של מספרים?",
        "הוא איחר כי הרכבת התקלקלה.",
        "מהי בירת נורווגיה?",
        "לווייתן הוא לא דג.",
        "צבענו את המטבח בצהוב.",
        "המוזיאון סגור בימי שני.",
        "תודה!",
    ),
    "greek": (
        "Η αδερφή μου μένει κοντά στο λιμάνι.",
        "Πώς ταξινομώ μια λίστα αριθμών;",
        "Άργησε γιατί χάλασε το τρένο.",
        "Ποια είναι η πρωτεύουσα της Νορβηγίας;",
        "Η φάλαινα δεν είναι ψάρι.",
        "Βάψαμε την κουζίνα κίτρινη.",
        "Το μουσείο είναι κλειστό τη Δευτέρα.",
        "Ευχαριστώ!",
    ),
    "thai": (
        "พี่สาวของฉันอยู่ใกล้ท่าเรือ",
        "ฉันจะเรียงลำดับรายการตัวเลขได้อย่างไร",
        "เขามาสายเพราะรถไฟเสีย",
        "เมืองหลวงของนอร์เวย์คืออะไร",
        "ปลาวาฬไม่ใช่ปลา",
        "เราทาสีห้องครัวเป็นสีเหลือง",
        "พิพิธภัณฑ์ปิดวันจันทร์",
        "ขอบคุณ",
    ),
}
"""For each writing, sentences that have nothing to do with each other."""


async def measure_unrelated(embedder: Embedder) -> CosineScale:
    """Return the scale of English with those of other writings.

    :param embedder: a loaded embedder.
    :raises EmbedderError: the sentences cannot be embedded.
    """
    pairs = {
        writing: _cosines(await embedder.embed(sentences))
        for writing, sentences in SENTENCES.items()
    }
    scales = {writing: _scale(cosines) for writing, cosines in pairs.items()}
    latin = [cosine for writing in pairs.keys() & LATIN for cosine in pairs[writing]]
    scales["latin"] = _scale(latin)
    scales["other"] = CosineScale(max(scale.mean for scale in scales.values()), BLIND_DEVIATION)
    cosines = _cosines(await embedder.embed(ENGLISH))
    deviation = max(statistics.stdev(cosines), MIN_DEVIATION)
    return CosineScale(statistics.fmean(cosines), deviation, scales)


def scale_of(rows: Vectors) -> CosineScale:
    """Return the scale of a writing other than English.

    :param rows: the vectors of texts that have nothing to do with each other.
    """
    return _scale(_cosines(rows))


def _cosines(rows: Vectors) -> list[float]:
    """Return the cosine of each pair of rows."""
    cosines = rows @ rows.T
    return [float(cosines[first, second]) for first in range(len(rows)) for second in range(first)]


def _scale(cosines: Sequence[float]) -> CosineScale:
    deviation = statistics.stdev(cosines)
    deviation = BLIND_DEVIATION if deviation < BLIND else max(deviation, MIN_OTHER_DEVIATION)
    return CosineScale(statistics.fmean(cosines), deviation)
