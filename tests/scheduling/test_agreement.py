"""Which pairs of answers agree: the same in every language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.scheduling.agreement import disagreement

DIFFERENT = [
    ("Yes, it is.", "No, it is not."),
    ("It has 206 bones.", "It has 208 bones."),
    ("Use a list.", "Photosynthesis makes sugar from light."),
    ("It was on 12 May 1969.", "It was on 12 May 1972."),
    ("It was on 12 May 1969.", "It was on 12 June 1969."),
    ("The capital of France is Paris.", "The capital of France is Lyon."),
    ("Paris is the capital of France.", "Lyon is the capital of France."),
    ("There are three of them in the box.", "There are four of them in the box."),
    ("北京", "上海"),
    ("中国的首都是北京。", "中国的首都是上海。"),
    ("北京是中国的首都。", "中国的首都是上海。"),
    ("是的，可以。", "不，不可以。"),
    ("他生于一九六九年。", "他生于一九七二年。"),
    ("會議在五月三日。", "會議在六月三日。"),
    ("首都は東京です。", "首都は大阪です。"),
    ("妹はリスボンに住んでいます。", "妹はポルトに住んでいます。"),
    ("はい、そうです。", "いいえ、違います。"),
    ("여동생은 리스본에 살아요.", "여동생은 포르투에 살아요."),
    ("네, 맞아요.", "아니요, 틀려요."),
    ("เมืองหลวงคือกรุงเทพมหานคร", "เมืองหลวงคือเชียงใหม่"),
    ("عاصمة فرنسا هي باريس.", "عاصمة فرنسا هي ليون."),
    ("عددهم ٢٠٦.", "عددهم ٢٠٨."),
    ("फ़्रांस की राजधानी पेरिस है।", "फ़्रांस की राजधानी ल्यों है।"),
    ("Столица Франции — Париж.", "Столица Франции — Лион."),
    ("Да, это так.", "Нет, это не так."),
    ("День рождения третьего мая.", "День рождения третьего июня."),
    ("Der Zug fährt nach München.", "Der Zug fährt nach Hamburg."),
    ("Ja, das stimmt.", "Nein, das stimmt nicht."),
    ("Başkent Ankara'dır.", "Başkent İstanbul'dur."),
    ("El cumpleaños es el 3 de mayo.", "El cumpleaños es el 3 de junio."),
    ("O aniversário é em março.", "O aniversário é em maio."),
    ("9 am", "9 pm"),
    ("It opens at 9:00 a.m.", "It opens at 9:00 p.m."),
    ("上午九点", "下午九点"),
    ("오전 9시", "오후 9시"),
    ("В 9 утра.", "В 9 вечера."),
    ("-5", "5"),
    ("It is \u22125 degrees.", "It is 5 degrees."),
    ("四", "五"),
    ("可以", "不可以"),
    ("没有", "有"),
    ("他喜欢狗。", "他不喜欢狗。"),
    ("彼は犬が好きです。", "彼は犬が好きではありません。"),
    ("できます。", "できません。"),
    ("그는 개를 좋아해요.", "그는 개를 좋아하지 않아요."),
    ("เขาชอบหมา", "เขาไม่ชอบหมา"),
    ("He likes dogs.", "He does not like dogs."),
    ("Penguins can fly.", "Penguins can\u2019t fly."),
    ("Er mag Hunde.", "Er mag keine Hunde."),
    ("Il aime les chiens.", "Il n'aime pas les chiens."),
    ("Le gustan los perros.", "No le gustan los perros."),
    ("Он любит собак.", "Он не любит собак."),
    ("هو يحب الكلاب.", "هو لا يحب الكلاب."),
    ("उसे कुत्ते पसंद हैं।", "उसे कुत्ते पसंद नहीं हैं।"),
]
ALIKE = [
    ("四", "4"),
    ("10 - 5 = 5", "10 -5 = 5"),
    ("四。", "4。"),
    ("9 am", "9:00 a.m."),
    ("It opens at 9.", "It opens at 9 am."),
    ("The year 1969-1972.", "The year 1969\u20131972."),
    ("It is Paris.", "It is Paris, not Lyon."),
    ("It is not Lyon but Paris.", "It is Paris."),
    ("It is fast and cheap.", "It is not only fast but cheap."),
    ("He does not like dogs.", "He doesn't like dogs."),
    ("首都是北京。", "首都是北京，不是上海。"),
    ("他不喜欢狗。", "他并不喜欢狗。"),
    ("Yes, whales are mammals.", "Yes, whales are mammals and breathe air."),
    ("It has 206 bones.", "There are 206 bones in the body."),
    ("It has 206 bones.", "206"),
    ("1,000 metres", "1000 metres"),
    ("It was 1.5 million.", "It was 1,5 million."),
    ("", ""),
    ("42", "42."),
    ("The capital of France is Paris.", "Paris is the capital of France, on the Seine."),
    ("Anna lives in Lisbon.", "Your sister Anna resides in Lisbon, Portugal."),
    ("It landed on July 20, 1969.", "It landed on 20 July 1969, at 20:17."),
    ("1. Milk\n2. Bread", "1. Bread\n2. Milk\n3. Bread and milk"),
    ("里斯本是葡萄牙的首都。", "葡萄牙的首都是里斯本。"),
    ("安娜住在里斯本。", "你妹妹安娜现在住在里斯本。"),
    ("有三个。", "一共有3个。"),
    ("價格是１０００元。", "價格是1000元。"),
    ("首都は東京です。", "東京が日本の首都です。"),
    ("여동생은 리스본에 살아요.", "안나라는 여동생은 리스본에 살고 있어요."),
    ("เมืองหลวงคือกรุงเทพมหานคร", "กรุงเทพมหานครเป็นเมืองหลวง"),
    ("عاصمة فرنسا هي باريس.", "باريس هي عاصمة فرنسا."),
    ("عددهم ٢٠٦.", "عددهم 206."),
    ("फ़्रांस की राजधानी पेरिस है।", "पेरिस फ्रांस की राजधानी है।"),
    ("Столица Франции — Париж.", "Париж — это столица Франции."),
    ("Die Schloßstraße ist gesperrt.", "Die Schlossstrasse ist gesperrt."),
    ("Başkent ANKARA'dır.", "Ankara başkenttir."),
    ("El cumpleaños es el 3 de mayo.", "Es el tres de mayo, su cumpleaños."),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_answers_that_differ_in_numbers_names_or_polarity_disagree(first: str, second: str) -> None:
    assert disagreement(first, second)
    assert disagreement(second, first)


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_answers_that_say_the_same_in_other_words_agree(first: str, second: str) -> None:
    assert disagreement(first, second) is None
    assert disagreement(second, first) is None


def test_a_disagreement_names_the_difference() -> None:
    assert disagreement("中国的首都是北京。", "中国的首都是上海。") == "it says 上海, not 北京"
    assert disagreement("It was 1972.", "It was 1969.") == "it says 1969, not 1972"


@given(st.text(max_size=80), st.text(max_size=80))
def test_agreement_is_symmetric_and_a_text_agrees_with_itself(first: str, second: str) -> None:
    assert disagreement(first, first) is None
    assert bool(disagreement(first, second)) == bool(disagreement(second, first))
