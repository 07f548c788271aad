"""`vanta memory` as a person uses it: search, feed, carry along, forget."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.as_user import Run, install, user
from tests.cli.recalling import CONFIG, NOON, PLUGIN, line, write
from tests.trusted import trust

DAY = 86400


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """A user with an embedder and nothing remembered."""
    (tmp_path / "vanta.toml").write_text(CONFIG)
    trust(tmp_path)
    monkeypatch.setenv("HASHING_HOME", str(tmp_path))
    install(tmp_path, "hashing", PLUGIN, monkeypatch)
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


@pytest.fixture
def fed(vanta: Run, tmp_path: Path) -> Run:
    """A user of whom some things are remembered."""
    lines = [
        line("Anna lives in Lisbon.", kind="message", role="user", session="a", turn_id="t1"),
        line("A fine city.", kind="message", role="assistant", session="a", turn_id="t1"),
        line("The key is under the mat.", private=True, said_at=NOON + DAY),
        line("Anna likes tea.", tags=["taste", "anna"], said_at=NOON + 2 * DAY),
        line("Bob lives in Lisbon, too.", user="bob"),
    ]
    assert vanta("memory", "import", write(tmp_path / "seed.jsonl", lines)).code == 0
    return vanta


def texts(done: Any) -> list[str]:
    return [one["text"] for one in done.json]


def test_a_search_finds_by_words_and_meaning_with_role_origin_and_time(fed: Run) -> None:
    done = fed("memory", "search", "Lisbon")
    assert done.code == 0
    assert done.out.splitlines()[0].split()[-3:] == ["user", "a", "#1"]
    assert "2026-05-2" in done.out
    assert "Anna lives in Lisbon." in done.text
    assert "Bob" not in done.text


def test_json_has_parts_that_add_up_and_the_sources(fed: Run) -> None:
    found = fed("memory", "search", "where does Anna live", "--json").json
    assert (found["embedder"], found["index"], found["skipped"]) == ("hash", "scan", "")
    assert found["found"][0]["item"]["text"] == "Anna lives in Lisbon."
    for one in found["found"]:
        assert sum(one["parts"].values()) == pytest.approx(one["score"])


def test_explain_has_each_part_in_a_column(fed: Run) -> None:
    done = fed("memory", "search", "Anna", "--explain")
    heads = set(" ".join(done.out.splitlines()[:2]).split())
    (first, *_) = fed("memory", "search", "Anna", "--json").json["found"]
    assert {"score", "words", "meaning", *" ".join(first["parts"]).split()} <= heads
    assert "waiting for embedder hash" in done.err
    assert "found by words and meaning (embedder hash, index scan) in" in done.text


def test_explain_gives_the_reason_for_words_alone(
    fed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_MEMORY__EMBEDDER", "none")
    done = fed("memory", "search", "Anna", "--explain")
    assert done.code == 0
    assert "found by words alone" in done.text
    assert "the configuration says to use no embedder" in done.text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--public"], {"Anna lives in Lisbon.", "A fine city.", "Anna likes tea."}),
        (["--session", "a"], {"Anna lives in Lisbon.", "A fine city."}),
        (["--role", "assistant"], {"A fine city."}),
        (["--kind", "fact"], {"The key is under the mat.", "Anna likes tea."}),
        (["--tag", "taste", "--tag", "anna"], {"Anna likes tea."}),
        (["--tag", "taste", "--tag", "bob"], set()),
        (["--user", "bob"], {"Bob lives in Lisbon, too."}),
        (["--limit", "1"], {"Anna likes tea."}),
        (["--since", "2026-05-30"], {"Anna likes tea."}),
        (["--until", "2026-05-28"], {"Anna lives in Lisbon.", "A fine city."}),
        (["--since", "1d"], set()),
    ],
)
def test_a_list_can_be_narrowed(fed: Run, options: list[str], expected: set[str]) -> None:
    assert set(texts(fed("memory", "list", "--json", *options))) == expected
    found = fed("memory", "search", "Anna Lisbon tea key city", "--json", *options).json["found"]
    if "--limit" not in options:
        assert {one["item"]["text"] for one in found} == expected


def test_an_empty_memory_shows_the_next_step(vanta: Run) -> None:
    assert "`vanta memory add FILE` adds some" in vanta("memory", "list").err
    done = vanta("memory", "search", "anything")
    assert (done.code, done.out) == (0, "")
    assert "Nothing was found. `vanta memory list`" in done.err
    assert "items none" in vanta("memory", "stats").text


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["list", "--kind", "fakt"], "Did you mean 'fact'?"),
        (["list", "--since", "soon"], "give a day (2026-11-17), a time (2026-11-17T14:30)"),
        (["list", "--since", "2026-13-01"], "no such time"),
        (["list", "--since", "2026-06-02", "--until", "2026-06-01"], "must be before"),
        (["forget"], "give --item ID, --session NAME"),
        (["forget", "--all"], "Add --yes to forget without it, or --dry-run"),
        (["import", "nowhere.jsonl"], "`vanta memory export FILE` writes such a file"),
        (["export", "no/where.jsonl"], "cannot be written"),
    ],
)
def test_a_mistake_is_reported_with_the_next_step(fed: Run, argv: list[str], expected: str) -> None:
    done = fed("memory", *argv)
    assert done.code == 2
    assert expected in done.text.replace("│ ", "")
    assert len(texts(fed("memory", "list", "--json"))) == 4


def test_without_memory_the_reason_is_given(vanta: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTA_MEMORY__ENABLED", "false")
    done = vanta("memory", "list")
    assert done.code == 2
    assert "memory is off: memory.enabled is false. `vanta config explain memory`" in done.text


def test_documents_are_added_in_chunks_with_their_places(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("# Rules\n\n## Holidays\n\nThirty days a year.\n")
    done = vanta("memory", "add", "rules.md", "--tag", "work")
    assert done.code == 0
    assert "rules.md: 1 chunk" in done.out
    (item,) = vanta("memory", "list", "--json").json
    assert (item["kind"], item["source"]) == ("document", "rules.md, Rules > Holidays")
    assert item["tags"] == ["work", f"file:{tmp_path / 'rules.md'}"]
    assert vanta("memory", "stats", "--json").json["vectors"] == {"hash/256/1": 1}


def test_a_file_that_is_added_again_replaces_its_earlier_content(
    vanta: Run, tmp_path: Path
) -> None:
    parts = [f"## Part {n}\n\n" + f"word{n} " * 200 for n in range(4)]
    path = tmp_path / "book.md"
    path.write_text("\n\n".join(parts))
    first = vanta("memory", "add", "book.md", "--json").json
    again = vanta("memory", "add", "book.md", "--json").json
    assert first["files"][0]["chunks"] == again["files"][0]["chunks"] >= 4
    assert again["files"][0]["unchanged"]
    path.write_text("\n\n".join([parts[0], "## New\n\nquite " * 60, *parts[2:]]))
    (tmp_path / "journal").unlink()
    changed = vanta("memory", "add", "book.md", "--json").json["files"][0]
    items = vanta("memory", "list", "--json", "-n", "100").json
    assert changed["replaced"] == first["files"][0]["chunks"]
    assert len(items) == changed["chunks"]
    done = " ".join(item["text"] for item in items)
    assert "word1" not in done
    assert done.index("word0") < done.index("quite") < done.index("word2")
    embedded = sum(map(int, (tmp_path / "journal").read_text().split()))
    assert 0 < embedded < changed["chunks"], "what was there keeps its vector"
    assert vanta("memory", "stats", "--json").json["waiting_for_a_vector"] == 0


def test_a_document_is_forgotten_by_its_file_or_its_tag(vanta: Run, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt", "three.txt"):
        (tmp_path / name).write_text(f"This is {name}.")
    vanta("memory", "add", "one.txt", "two.txt")
    vanta("memory", "add", "three.txt", "--tag", "odd")
    assert vanta("memory", "forget", "--file", "one.txt", "--yes").code == 0
    assert texts(vanta("memory", "list", "--json")) == ["This is two.txt.", "This is three.txt."]
    assert vanta("memory", "forget", "--tag", "odd", "--yes").code == 0
    assert texts(vanta("memory", "list", "--json")) == ["This is two.txt."]
    assert vanta("memory", "forget", "--tag", "x", "--file", "y", "--yes").code == 2


def test_folders_and_patterns_are_expanded_and_a_bad_file_affects_no_other(
    vanta: Run, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    (docs / ".git").mkdir(parents=True)
    for name in ("a.md", "b.txt", ".git/c.md", "d.bin"):
        (docs / name).write_text(f"This is {name}.")
    (docs / "e.txt").write_bytes(b"\x00\x01\x02")
    done = vanta("memory", "add", "docs", "docs/*.bin", "--private", "--json")
    assert done.code == 1
    data = {Path(one["file"]).name: one["error"] for one in done.json["files"]}
    assert set(data) == {"a.md", "b.txt", "d.bin", "e.txt"}
    assert "NUL" in data["e.txt"]
    items = vanta("memory", "list", "--json").json
    assert {item["source"] for item in items} == {"a.md", "b.txt", "d.bin"}
    assert all(item["private"] for item in items)
    nothing = vanta("memory", "add", str(docs / ".git" / ".."), "nope.md")
    assert nothing.code == 1
    assert "'nope.md' cannot be read: there is no such file" in nothing.text


def test_links_that_lead_out_of_a_folder_are_reported_and_not_followed(
    vanta: Run, tmp_path: Path
) -> None:
    docs, outside = tmp_path / "docs", tmp_path / "outside"
    (docs / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_text("The secret.")
    (docs / "a.txt").write_text("This is a.")
    (docs / "deep" / "inside.txt").symlink_to(docs / "a.txt")
    (docs / "deep" / "out.txt").symlink_to(outside / "secret.txt")
    (docs / "elsewhere").symlink_to(outside, target_is_directory=True)
    for argument in ("docs", "docs/**/*.txt"):
        done = vanta("memory", "add", argument)
        assert done.code == 0
        assert "out.txt leads out of its folder" in done.text
        assert texts(vanta("memory", "list", "--json")) == ["This is a."]
    assert vanta("memory", "add", "docs/deep/out.txt").code == 0, "it is named by the person"
    assert len(texts(vanta("memory", "list", "--json"))) == 2


def test_a_private_file_becomes_public_by_a_word_only(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("I saw the Zanzibarquay oak today.")
    vanta("memory", "add", "diary.txt", "--private")
    (tmp_path / "diary.txt").write_text("I saw the Zanzibarquay oak today, and a fox.")
    done = vanta("memory", "add", "diary.txt")
    assert "it stays private, as it was added before; --public" in done.text
    assert [item["private"] for item in vanta("memory", "list", "--json").json] == [True]
    assert vanta("memory", "add", "diary.txt", "--public").code == 0
    assert [item["private"] for item in vanta("memory", "list", "--json").json] == [False]


def test_an_export_comes_back_without_loss(fed: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("# Rules\n\nTea at five \u2028 \u2013 \U0001f375.\n")
    fed("memory", "add", "rules.md", "--private", "--tag", "x")
    done = [line("I saw her last Tuesday.", dates={"last Tuesday": "2020-01-01"})]
    fed("memory", "import", write(tmp_path / "dated.jsonl", done))
    out = fed("memory", "export", "all.jsonl", "--json")
    assert out.json == {"file": "all.jsonl", "items": 7, "private": 2}
    assert stat.S_IMODE(os.stat("all.jsonl").st_mode) == 0o600  # noqa: PTH116
    before = _without_ids(fed("memory", "export").out)
    assert fed("memory", "import", "all.jsonl", "--json").json == _came(7, 0)
    fed("memory", "forget", "--all", "--yes")
    fed("memory", "forget", "--all", "--yes", "--user", "bob")
    assert fed("memory", "export").out == ""
    assert fed("memory", "import", "all.jsonl", "--json").json == _came(7, 7)
    assert _without_ids(fed("memory", "export").out) == before
    assert [one["dates"] for one in before if one["dates"]] == [{"last Tuesday": "2020-01-01"}]
    assert len(fed("memory", "export", "--user", "bob").out.splitlines()) == 1


def _without_ids(lines: str) -> list[dict[str, Any]]:
    found = [json.loads(one) for one in lines.split("\n") if one]
    return [{key: value for key, value in one.items() if key != "id"} for one in found]


def _came(items: int, added: int) -> dict[str, int]:
    return {"items": items, "added": added, "known": items - added}


def test_an_item_that_a_file_has_twice_is_stored_twice(vanta: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "twice.jsonl", [line("Yes."), line("No."), line("Yes.")])
    assert vanta("memory", "import", path, "--json").json == _came(3, 3)
    assert vanta("memory", "import", path, "--json").json == _came(3, 0)


def test_bad_lines_are_all_named_and_nothing_is_imported(vanta: Run, tmp_path: Path) -> None:
    good = json.dumps(line("fine"))
    bad = [
        ("{", "it is not JSON: "),
        ("[1]", "it is not a JSON object"),
        (json.dumps(line("x", kind="fakt")), "kind: Input should be 'message'"),
        (json.dumps(line("x", said_at="noon")), "said_at: Input should be a valid number"),
        (json.dumps(line("x", said_at=1e20)), "said_at: it must be seconds since 1970"),
        (json.dumps(line("x", mood="good")), "mood: Extra inputs are not permitted"),
        (json.dumps({"text": "x"}), "user: Field required"),
    ]
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join([good, "", *(text for text, _ in bad), good]))
    done = vanta("memory", "import", "bad.jsonl")
    assert done.code == 2
    assert "7 lines of 9 in 'bad.jsonl' cannot be read, so nothing was imported" in done.err
    for number, (_, why) in enumerate(bad, start=3):
        assert f"line {number}: {why}" in done.err
    assert texts(vanta("memory", "list", "--json")) == []


def test_half_a_character_of_another_program_is_replaced(vanta: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "half.jsonl", [line("cut \ud83d"), line("whole \ud83d\ude00")])
    assert vanta("memory", "import", path, "--json").json == _came(2, 2)
    assert texts(vanta("memory", "list", "--json")) == ["cut \ufffd", "whole \U0001f600"]


def test_bytes_that_are_not_text_are_a_bad_line(vanta: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\xfe\n")
    assert "line 1: it is not UTF-8" in vanta("memory", "import", "bad.jsonl").err


def test_forgetting_takes_the_whole_exchange_and_leaves_no_byte(fed: Run, tmp_path: Path) -> None:
    fed("memory", "reindex")
    (tmp_path / "data" / "chat_history").write_text("before\nAnna lives in Lisbon.\n/info\n")
    shown = fed("memory", "forget", "--item", "2", "--dry-run")
    assert "This would forget 2 items, 2 vectors of 1 session:" in shown.err
    assert "Anna lives in Lisbon." in shown.err
    assert len(texts(fed("memory", "list", "--json"))) == 4
    done = fed("memory", "forget", "--item", "2", "--yes", "--json")
    assert done.code == 0
    receipt = done.json
    assert (receipt["certain"], receipt["why"]) == (True, "")
    assert receipt["removed"]["items"] == 2
    assert receipt["removed"]["typed_lines"] == 1
    assert (tmp_path / "data" / "chat_history").read_text() == "before\n/info\n"
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not [path for path in files if b"Anna lives in Lisbon" in path.read_bytes()]
    assert b"Bob lives" in (tmp_path / "data" / "vanta.db").read_bytes()


def test_a_dry_run_lists_all_items_as_json(fed: Run) -> None:
    data = fed("memory", "forget", "--since", "2026-05-29", "--dry-run", "--json").json
    assert {item["text"] for item in data["items"]} >= {"Anna likes tea."}
    assert data["removed"]["items"] == len(data["items"])


def test_forgetting_twice_succeeds(fed: Run) -> None:
    assert fed("memory", "forget", "--session", "nothing", "--yes").code == 0
    done = fed("memory", "forget", "--item", "999", "--yes")
    assert "forgotten: 0 items" in done.out
    assert "no byte of it is left" in done.out


def test_bytes_that_may_be_left_are_reported_and_end_in_1(fed: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "memory" / "index").mkdir(parents=True)
    done = fed("memory", "forget", "--all", "--yes")
    assert done.code == 1
    assert "bytes of it may be left" in done.out
    assert "remove it, or turn memory.index on and forget again" in done.text


def test_reindex_anew_embeds_everything_again(fed: Run, tmp_path: Path) -> None:
    fed("memory", "reindex")
    (tmp_path / "journal").unlink()
    assert fed("memory", "reindex").code == 0
    assert not (tmp_path / "journal").exists()
    done = fed("memory", "reindex", "--anew", "--json")
    assert done.json["vectors"] == {"hash/256/1": 5}
    assert (tmp_path / "journal").read_text().split() == ["5"]
    assert fed("memory", "stats", "--user", "bob", "--json").json["vectors"] == {"hash/256/1": 1}
    assert "vectors of hash/256/1 5" in fed("memory", "stats").text


def test_reindex_without_an_embedder_gives_the_reason(
    fed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_MEMORY__EMBEDDER", "none")
    done = fed("memory", "reindex")
    assert done.code == 2
    assert "nothing can be indexed without an embedder" in done.text
    assert "the configuration says to use no embedder" in done.text


def test_a_text_cannot_steer_the_terminal(vanta: Run, tmp_path: Path) -> None:
    vanta("memory", "import", write(tmp_path / "x.jsonl", [line("red \x1b[31m [bold]tea")]))
    for command in (("list",), ("search", "tea"), ("search", "tea", "--explain")):
        done = vanta("memory", *command)
        assert "\x1b[31m" not in done.out
        assert "[bold]tea" in done.out
