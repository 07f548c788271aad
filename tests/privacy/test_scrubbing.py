"""What a server writes about a request repeats nothing of it, in any form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.engine import GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Message
from vanta.privacy.scrubbing import (
    LEFT_OUT,
    MOST_COMPARED,
    Quotations,
    forget_texts,
    remove_quotations,
    scrub_error,
)

SECRET = (
    "My therapist is Dr. Zanzibarquay; the door's PIN is 4711, und der Schlüssel heißt Wölkchen."
)
HAN = "我的密码是红色的大象 请保密 不要告诉任何人"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json twice": lambda text: json.dumps(json.dumps(text)),
    "url": quote,
    "form": quote_plus,
    "url twice": lambda text: quote(quote(text)),
    "html": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "bytes": lambda text: repr(text.encode()),
    "repr": repr,
    "upper case": str.upper,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hexadecimal": lambda text: text.encode().hex(),
    "beginning": lambda text: text[: len(text) // 2] + "...",
    "end": lambda text: "..." + text[len(text) // 2 :],
    "in pieces": lambda text: " | ".join(text[at : at + 5] for at in range(0, len(text), 5)),
    "over lines": lambda text: text.replace(" ", "\n  > "),
}


@pytest.mark.parametrize("text", [SECRET, HAN], ids=["latin", "han"])
@pytest.mark.parametrize("form", FORMS)
def test_a_quotation_is_removed_in_every_form(form: str, text: str) -> None:
    written = f"HTTP 500: cannot process {FORMS[form](text)} now"
    result = remove_quotations(written, ["You are Vanta.", text])
    assert result.startswith("HTTP 500: cannot proces")
    assert LEFT_OUT in result
    for form_of in FORMS.values():
        whole = form_of(text)
        parts = [whole[at : at + 12] for at in range(len(whole) - 12)]
        assert [part for part in parts if part in result] == []
    assert "4711" not in result
    assert "anzibar" not in result.lower()


@pytest.mark.parametrize(
    ("source", "written", "left"),
    [
        ("the code is Bluebird", "unexpected token 'Bluebird'", "Bluebird"),
        ("call 555-0199-23", "bad digits 555019923", "555019923"),
        ("PIN 4711?", "column 4711 of what", "4711"),
        ("J. Doe", "no user j doe here", "doe"),
    ],
)
def test_a_word_a_number_or_a_short_message_is_a_quotation(
    source: str, written: str, left: str
) -> None:
    assert left not in remove_quotations(written, [source])


@pytest.mark.parametrize(
    "written",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000.",
        "Rate limit reached for requests. Please retry after 20 seconds.",
        "The server is overloaded or not ready yet.",
    ],
)
def test_what_a_server_says_itself_is_kept(written: str) -> None:
    history = ["You are a helpful assistant.", "What is the maximum speed of a server, please?"]
    assert remove_quotations(written, history) == written


@given(st.text(), st.text(max_size=3000))
def test_any_texts_are_scrubbed_without_an_error(source: str, written: str) -> None:
    result = remove_quotations(written, [source])
    assert len(result.replace(LEFT_OUT, "")) <= len(written)


@given(st.text(alphabet="abcdefgh 0123456789äß", min_size=30, max_size=200), st.data())
def test_no_long_part_of_the_source_remains(source: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(source) - 20))
    part = source[start : start + data.draw(st.integers(20, 80))]
    result = remove_quotations(f"failed at <<{part}>> here", [source])
    letters = "".join(part.split())
    assert len(letters) < 12 or part not in result


def test_nothing_is_kept_if_the_request_is_too_long_to_compare() -> None:
    quotations = Quotations(["word " * (MOST_COMPARED // 5 + 1)])
    assert quotations.removed_from("HTTP 500: whatever") == LEFT_OUT
    error = _error("HTTP 500: whatever", summary="HTTP 500")
    scrub_error(error, ["word " * (MOST_COMPARED // 5 + 1)], private=False)
    assert error.message == "HTTP 500"


def _error(message: str, summary: str | None = None, cause: Exception | None = None) -> EngineError:
    error = EngineError(ErrorKind.SERVER, message, engine="e", summary=summary)
    error.__cause__ = cause
    return error


def _ask(text: str) -> GenerationRequest:
    return GenerationRequest((Message("system", "Be kind."), Message("user", text)))


def test_an_error_of_a_private_turn_keeps_its_summary_alone() -> None:
    error = _error("HTTP 500: something in other words", "HTTP 500", RuntimeError("other words"))
    error.add_note("other words")
    scrub_error(error, _ask(SECRET), private=True)
    assert error.message == "HTTP 500"
    assert "words" not in f"{error} {error!r} {error.to_dict()} {error.__notes__}"
    assert str(error.__cause__) == "RuntimeError"


def test_an_error_of_a_public_turn_keeps_what_is_no_quotation() -> None:
    error = _error(f"HTTP 500: no room for {SECRET}", "HTTP 500")
    error.__context__ = ValueError(f"body: {json.dumps(SECRET)}")
    scrub_error(error, _ask(SECRET), private=False)
    assert error.message.startswith("HTTP 500: no room for")
    assert "Zanzibarquay" not in f"{error} {error!r} {error.__context__} {error.to_dict()}"
    kept = _error("HTTP 500: no room", cause=ValueError("disk"))
    scrub_error(kept, _ask(SECRET), private=False)
    assert (kept.message, str(kept.__cause__)) == ("HTTP 500: no room", "disk")


def test_a_forgotten_trace_has_no_word_of_others() -> None:
    error = {"kind": "server", "message": "m1", "suggestion": "m2", "cause": "m3", "engine": "e"}
    trace = {
        "turn_id": "t",
        "legs": [{"error": error, "verdict": "m4", "state": "failed"}, {"error": None}],
        "context": {"api": {"refused": "m5", "memory_skipped": "m6", "tokens": 5}},
        "recall": {"skipped": "m7", "took_s": 1.0},
    }
    text = json.dumps(forget_texts(trace))
    assert not any(f"m{number}" in text for number in range(1, 8))
    assert '"kind": "server"' in text
    assert '"tokens": 5' in text
    assert forget_texts({"legs": [], "context": {}}) == {"legs": [], "context": {}}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Ich heiße Jürgen Müller.", "name: Müller, Jürgen (invalid)"),
        ("Ich heiße Jürgen Müller.", "user Muller is blocked; see Jurgen"),
        ("Je suis Zoë, la sœur de Renée.", "rejected: Renée / Zoë"),
        ("Меня зовут Иван Петров.", "policy: Петров Иван"),
        ("我叫王小明 住在杭州。", "refused for 杭州, 王小明"),
        ("私は田中マリアです。", "マリア and 田中 are not allowed"),
        ("내 이름은 김민수이고 서울에 산다.", "blocked: 김민수"),
        ("मेरा नाम प्रिया शर्मा है।", "blocked: शर्मा प्रिया"),
        ("اسمي فاطمة الزهراء", "blocked: الزهراء, فاطمة"),
        ("ผมชื่อสมชาย ใจดี", "blocked: ใจดี"),
        ("Ονομάζομαι Γιώργος", "blocked: ΓΙΩΡΓΟΣ"),
        ("Mam na imię Łucja Żak", "blocked: Żak Łucja"),
    ],
)
def test_names_of_any_writing_are_removed_in_any_order(message: str, error: str) -> None:
    cleaned = remove_quotations(error, [message])
    names = [word for word in re.findall(r"[^\s:,./();]+", error) if word in cleaned.split()]
    assert [word for word in names if not word.isascii() or word in {"Muller", "Jurgen"}] == []
    assert LEFT_OUT in cleaned


def test_an_error_in_another_language_keeps_what_the_message_does_not_say() -> None:
    error = "Неверный ключ: модель недоступна. 超过长度限制。"
    assert remove_quotations(error, ["Где живёт моя сестра? 我姐姐住在哪里。"]) == error
