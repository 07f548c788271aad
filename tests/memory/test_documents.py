"""Documents: formats, encodings, refusals with advice, and chunks by structure."""

from __future__ import annotations

import codecs
import contextlib
import os
import random
import re
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory.pdfs import encrypted, pdf
from vanta import install_hint
from vanta.errors import UnreadableDocument
from vanta.memory.documents import Block, Document, chunk_document, read_document
from vanta.memory.documents.chunking import MIN_TOKENS, estimate_tokens
from vanta.memory.documents.html import read_html

HANDBOOK = """---
title: Handbook
---
# Handbook

Welcome.

## Holidays

### Winter

We close on 24 December. Nobody works then.

- skates
- skis

  and poles

### Summer #

| month | days |
|-------|------|
| July  | 10   |

[terms]: https://example.org/terms

Rules
-----

```python
# not a heading
```

<details>
<summary>More</summary>
<script>alert("never")</script>
Call Ada.
</details>
"""

PAGE = """<!DOCTYPE html>
<html><head><title> The
 house </title><style>p { color: red }</style><script>var a = "<p>never</p>";</script></head>
<body><!-- never --><h1>House</h1>
<p>Rooms &amp; <b>doors</b>.<br>Two lines.
<ul><li>one<ul><li>inner</li></ul><li><p>two</p></ul>
<h2>Prices</h2><table><tr><th>what<th>price<tr><td>key<td>3 &euro;</table>
<ol><li>first<li>second</ol>
<pre>  kept
    as it is</pre>
<div>outer <div>inner</div> end</div>
<template>never</template><svg><text>never</text></svg><noscript>never</noscript>
<![if !IE]>said<![endif]></body></html>
"""


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def visible(text: str) -> str:
    """Return the text without white space."""
    return "".join(text.split())


def test_markdown_is_cut_into_blocks_under_their_headings(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, "handbook.md", HANDBOOK))
    assert document.format == "markdown"
    blocks = [(block.kind, block.text.split("\n")[0], block.path) for block in document.blocks]
    holidays = ("Handbook", "Holidays")
    assert blocks == [
        ("code", "---", ()),
        ("heading", "# Handbook", ("Handbook",)),
        ("text", "Welcome.", ("Handbook",)),
        ("heading", "## Holidays", holidays),
        ("heading", "### Winter", (*holidays, "Winter")),
        ("text", "We close on 24 December. Nobody works then.", (*holidays, "Winter")),
        ("list", "- skates", (*holidays, "Winter")),
        ("heading", "### Summer #", (*holidays, "Summer")),
        ("table", "| month | days |", (*holidays, "Summer")),
        ("text", "[terms]: https://example.org/terms", (*holidays, "Summer")),
        ("heading", "Rules", ("Handbook", "Rules")),
        ("code", "```python", ("Handbook", "Rules")),
        ("text", "More", ("Handbook", "Rules")),
        ("text", "Call Ada.", ("Handbook", "Rules")),
    ]


def test_html_is_reduced_to_its_visible_text(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, "house.html", PAGE))
    assert (document.format, document.title) == ("html", "The house")
    assert [(block.kind, block.text) for block in document.blocks] == [
        ("heading", "House"),
        ("text", "Rooms & doors.\nTwo lines."),
        ("list", "- one\n- inner\n- two"),
        ("heading", "Prices"),
        ("table", "what | price\nkey | 3 \N{EURO SIGN}"),
        ("list", "1. first\n2. second"),
        ("code", "  kept\n    as it is"),
        ("text", "outer"),
        ("text", "inner"),
        ("text", "end"),
        ("text", "said"),
    ]
    assert document.blocks[-1].path == ("House", "Prices")


def test_a_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    content = pdf(["Annual report\nAll is well.", "", "The end."])
    document = read_document(written(tmp_path, "report.pdf", content))
    assert document.format == "pdf"
    assert [(block.text, block.page) for block in document.blocks] == [
        ("Annual report\nAll is well.", 1),
        ("The end.", 3),
    ]
    assert document.notes == ("1 of its pages have no text",)
    assert chunk_document(document)[0].source == "report.pdf, pages 1-3"
    long = read_document(written(tmp_path, "long.pdf", pdf(["a word " * 60, "more words " * 50])))
    assert [chunk.source for chunk in chunk_document(long, 150)] == [
        "long.pdf, page 1",
        "long.pdf, page 2",
    ]


@pytest.mark.parametrize(
    ("name", "content", "detected"),
    [
        ("a.txt", pdf(["a page"]), "pdf"),
        ("a.md", PAGE.encode(), "html"),
        ("a.pdf", b"only text", "text"),
        ("a.html", b"no tag, 1 < 2", "text"),
        ("a.html", b"a <p>fragment", "html"),
        ("a.txt", b"<?xml version='1.0'?>\n<!-- x -->\n<html><p>x", "html"),
        ("A.MD", b"# x", "markdown"),
        ("a", b"# x", "text"),
        ("a.txt", b"rubbish before\n" + pdf(["a page"]), "pdf"),
    ],
)
def test_the_content_decides_the_format_if_the_suffix_is_wrong(
    tmp_path: Path, name: str, content: bytes, detected: str
) -> None:
    assert read_document(written(tmp_path, name, content)).format == detected


@pytest.mark.parametrize(
    ("encoding", "noted"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-32", ""),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("cp1252", "Latin-1 (Windows-1252)"),
    ],
)
def test_an_encoding_is_detected_and_a_guess_is_noted(
    tmp_path: Path, encoding: str, noted: str
) -> None:
    text = "Gr\u00fc\u00dfe an alle, die das hier lesen k\u00f6nnen"
    document = read_document(written(tmp_path, "a.txt", text.encode(encoding)))
    assert document.blocks[0].text == text
    assert [noted in note for note in document.notes] == ([True] if noted else [])


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        (
            "cp1251",
            "\u041c\u043e\u0441\u043a\u0432\u0430 - \u0441\u0442\u043e\u043b\u0438\u0446\u0430.",
        ),
        (
            "koi8_r",
            "\u041c\u043e\u0441\u043a\u0432\u0430 - \u0441\u0442\u043e\u043b\u0438\u0446\u0430.",
        ),
        ("cp1253", "\u0397 \u0391\u03b8\u03ae\u03bd\u03b1 \u03b5\u03af\u03bd\u03b1\u03b9."),
        ("cp932", "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002"),
        (
            "gb18030",
            "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd\uff0c\u4eba\u53e3\u5f88\u591a\u3002",
        ),
    ],
)
def test_the_script_of_legacy_text_is_detected(tmp_path: Path, encoding: str, text: str) -> None:
    document = read_document(written(tmp_path, "a.txt", (text * 5).encode(encoding)))
    assert document.blocks[0].text == text * 5
    assert document.notes == (f"it is not UTF-8 and was read as {encoding}",)


@pytest.mark.parametrize("times", [1, 4, 30])
@pytest.mark.parametrize(
    "text",
    [
        "Die B\u00fccher stehen \u00fcber der T\u00fcr im gro\u00dfen Regal. ",
        "Le caf\u00e9 est ferm\u00e9 jusqu'\u00e0 No\u00ebl \u2013 l\u2019\u00e9t\u00e9 prochain. ",
        "El ni\u00f1o comi\u00f3 en el jard\u00edn; \u00bfd\u00f3nde est\u00e1 la ma\u00f1ana? ",
        "H\u00e4n sy\u00f6 \u00e4itins\u00e4 j\u00e4\u00e4t\u00e4. ",
        "\u201cIt\u2019s 5\u00b0C\u201d \u2014 \u00a3300 \u20ac20 na\u00efve r\u00e9sum\u00e9 ",
        "caf\u00e9 ",
    ],
)
def test_western_european_legacy_text_is_read_as_windows_1252(
    tmp_path: Path, text: str, times: int
) -> None:
    document = read_document(written(tmp_path, "a.txt", (text * times).encode("cp1252")))
    assert document.blocks[0].text == (text * times).rstrip()


def test_bytes_that_are_invalid_in_windows_1252_are_read_as_latin_1(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, "a.txt", b"caf\xe9 \x81"))
    assert document.blocks[0].text == "caf\u00e9 \x81"
    assert document.notes == ("it is not UTF-8 and was read as Latin-1",)


def test_a_web_page_may_declare_only_encodings_that_pages_are_written_in(
    tmp_path: Path,
) -> None:
    russian = '<html><meta charset="koi8-r"><p>\u043c\u0438\u0440'.encode("koi8-r")
    assert (
        read_document(written(tmp_path, "a.html", russian)).blocks[0].text == "\u043c\u0438\u0440"
    )
    odd = b'<html><meta charset="unicode_escape"><p>\\x41\xe9'
    assert read_document(written(tmp_path, "b.html", odd)).blocks[0].text == "\\x41\u00e9"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.docx", b"PK\x03\x04rest", "is a ZIP or Office file. Save it as PDF"),
        ("a.png", b"\x89PNG\r\n", "is an image. Run text recognition"),
        ("a.txt", b"one\0two", "contains NUL bytes, so it is not text"),
        ("a.txt", codecs.BOM_UTF16_LE + b"a", "begins as UTF-16 but continues differently"),
        ("a.txt", b"  \n ", "has no text"),
        ("a.html", b"<script>only()</script>", "has no text"),
        ("a.pdf", pdf(["", ""]), "has no text on any of its 2 pages. It is a scan"),
        ("a.pdf", pdf(["x"])[:300], "is a broken PDF"),
        ("a.pdf", b"%PDF-1.7 and nothing more", "is a broken PDF"),
        ("a.pdf", encrypted(["x"], "secret"), "is encrypted. Save it without a password"),
        ("a.txt", b"x" * 16_000_001, "is too large: 16000001 bytes"),
        ("a.txt", b"x" * 4_000_001, "is too large: 4000001 characters"),
    ],
)
def test_an_unreadable_file_is_refused_with_its_name_and_the_next_step(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read_document(written(tmp_path, name, content))
    assert str(caught.value).startswith(repr(name))
    assert message in str(caught.value)


def test_a_pdf_that_is_protected_against_changes_only_is_read(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, "a.pdf", encrypted(["open to all"], "")))
    assert document.blocks[0].text == "open to all"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for name, why in (
        ("pipe.txt", "not a regular file"),
        (".", "not a file"),
        ("no.txt", "no such"),
    ):
        with pytest.raises(UnreadableDocument, match=why):
            read_document(tmp_path / name)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(b"(a) Tj " * 20_000_000, 9)
    path = written(tmp_path, "bomb.pdf", pdf(["x"], streams=[bomb]))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UnreadableDocument, match=r"'bomb.pdf' unpacks to more data than"):
        read_document(path)


def test_a_missing_library_is_named_with_the_extra_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(UnreadableDocument, match=re.escape(install_hint("documents"))):
        read_document(written(tmp_path, "a.pdf", pdf(["x"])))
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    with pytest.raises(UnreadableDocument, match=re.escape(install_hint("documents"))):
        read_document(written(tmp_path, "a.md", "# x"))


BROKEN = st.lists(
    st.sampled_from(
        [
            *("<p>", "</p>", "<ul>", "</ul>", "<li>", "<table>", "<tr>", "<td>", "</table>"),
            *("<pre>", "<h1>", "</h2>", "<!--", "-->", "<![CDATA[", "]]>", "<![if x]>", "<!"),
            *("<?", "&amp;", "<svg>", "</svg>", "<math/>", "&#0;", "&#x110000;", "<a b='"),
            *(">", "<", "</", "\0word"),
        ]
    )
    | st.text(max_size=4),
    max_size=30,
).map("".join)


@given(BROKEN)
def test_broken_html_never_raises_or_gives_empty_blocks(text: str) -> None:
    for block in read_html(text)[0]:
        assert block.text.strip()


@pytest.mark.parametrize("begin", ["<script>", "<style>", "<SCRIPT x='>'>", "<style\n>"])
@pytest.mark.parametrize("end", ["</script>", "</style>", "", "</script ", "</scriptx>"])
def test_scripts_and_styles_are_not_text(begin: str, end: str) -> None:
    (block,) = read_html(f"<p>before{begin}SECRET{end}")[0]
    assert block.text == "before"


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_a_damaged_pdf_raises_only_unreadable_document(
    tmp_path_factory: pytest.TempPathFactory, rng: random.Random, blows: int
) -> None:
    data = bytearray(pdf(["some text", "more\ntext"]))
    for _ in range(blows):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path = tmp_path_factory.mktemp("damaged") / "a.pdf"
    path.write_bytes(bytes(data))
    with contextlib.suppress(UnreadableDocument):
        assert read_document(path).blocks


LINES = st.lists(
    st.sampled_from(
        [
            *("", "", "# A", "## B c", "### D ###", "Under", "---", "===", "- one", "  two"),
            *("3. three", "| a | b |", "|---|---|", "```", "    code", "> quote", "[x]: y"),
            *("A sentence that goes on for a while, and some. Another? Yes. " * 3, "x" * 90),
            *("\u4f60\u597d\u3002\u4e16\u754c\uff01" * 9, "***", "1) item", "a | b"),
            *("Said so. And so!", "# C#", "\t- deep", "* * *", "    "),
        ]
    )
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<"), max_size=9),
    max_size=40,
).map("\n".join)


@given(LINES, st.sampled_from(["a.md", "a.txt"]), st.integers(MIN_TOKENS, 90))
def test_chunks_contain_every_character_once_and_none_is_too_long(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str, limit: int
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_text(text, "utf-8", newline="")
    if not text.strip("\ufeff").strip():
        return
    document = read_document(path)
    pieces = chunk_document(document, limit)
    assert visible("".join(chunk.text for chunk in pieces)) == visible(text.removeprefix("\ufeff"))
    assert [chunk.position for chunk in pieces] == list(range(len(pieces)))
    for chunk in pieces:
        assert chunk.text.strip()
        assert estimate_tokens(chunk.text) <= limit
        assert chunk.source.startswith(name)


def test_a_chunk_names_its_place_and_begins_with_its_heading(tmp_path: Path) -> None:
    pieces = chunk_document(read_document(written(tmp_path, "handbook.md", HANDBOOK)), 30)
    winter = next(chunk for chunk in pieces if "24 December" in chunk.text)
    assert winter.source == "handbook.md, Handbook > Holidays > Winter"
    assert winter.text.startswith("## Holidays\n\n### Winter\n\nWe close on 24 December.")


def test_small_neighbours_are_merged_under_their_common_heading() -> None:
    blocks = [
        part
        for letter in "abc"
        for part in (
            Block("heading", f"## {letter}", ("Top", letter)),
            Block("text", f"About {letter}.", ("Top", letter)),
        )
    ]
    (together,) = chunk_document(Document("x.md", "markdown", tuple(blocks)), 100)
    assert together.source == "x.md, Top"
    apart = chunk_document(Document("x.md", "markdown", tuple(blocks)), MIN_TOKENS)
    assert len(apart) > 1


def test_long_blocks_are_split_by_their_kind() -> None:
    items = "\n".join(f"- item number {number} is here. Yes." for number in range(12))
    prose = " ".join(f"Sentence number {number} is here." for number in range(12))
    blocks = (Block("list", items), Block("text", prose))
    pieces = chunk_document(Document("x.md", "markdown", blocks), 40)
    lists = [chunk.text for chunk in pieces if chunk.text.startswith("- ")]
    assert all(text.splitlines()[-1].endswith("Yes.") for text in lists)
    assert all(chunk.text.endswith((".", "Yes.")) for chunk in pieces)
    assert len(pieces) > 4


def test_a_list_that_fits_is_kept_whole() -> None:
    items = "\n".join(f"- item {number}" for number in range(8))
    blocks = (Block("text", "A paragraph before it. " * 6), Block("list", items))
    pieces = chunk_document(Document("x.md", "markdown", blocks), 45)
    assert [items in chunk.text for chunk in pieces] == [False, True]


def test_a_custom_counter_is_used_and_too_small_a_limit_is_refused() -> None:
    document = Document("x.txt", "text", (Block("text", "one two three. " * 20),))
    pieces = chunk_document(document, 16, count=lambda text: len(text.split()))
    assert {len(chunk.text.split()) for chunk in pieces} == {15}
    with pytest.raises(ValueError, match="at least 16"):
        chunk_document(document, 8)
