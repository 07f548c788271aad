"""Files: what a path can name, how large it can be, and who can read what is written."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from vanta.files import (
    FileRefused,
    exclusive,
    open_file,
    parse_json,
    parse_toml,
    private_folder,
    read_file,
    read_text,
    restrict,
    write_private,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_regular_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(FileRefused, match="larger than 4 bytes"):
        read_file(path, 4)


def test_text_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(path, 100) == "hello"


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(FileRefused, match="it is a pipe"):
        read_file(path, 100)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_link_to_a_device_is_refused(tmp_path: Path, device: str) -> None:
    path = tmp_path / "link"
    path.symlink_to(device)
    with pytest.raises(FileRefused, match="it is a device"):
        read_file(path, 100)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(FileRefused, match="it is a socket"):
            read_file("s", 100)


def test_a_folder_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, 100)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"not valid|No such file"):
        read_file(tmp_path / name, 100)


def test_a_file_that_hides_its_size_is_read_up_to_the_limit() -> None:
    with pytest.raises(FileRefused, match="larger than 10 bytes"):
        read_file("/proc/self/status", 10)


def test_an_open_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\n")
    with open_file(path, 100) as file:
        assert list(file) == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "9" * 5000, "{", "\ud800", "nope"]
)
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "9" * 5000, "a"])
def test_toml_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_toml(text)


def test_a_written_file_is_for_its_owner_alone_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new ü")
    assert path.read_text("utf-8") == "new ü"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert [item.read_text() for item in tmp_path.iterdir()] == ["old"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_private(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_standard_output_can_be_written_to() -> None:
    reader, writer = os.pipe()
    write_private(Path(f"/dev/fd/{writer}"), "hello")
    os.close(writer)
    assert os.read(reader, 100) == b"hello"
    os.close(reader)


def test_every_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    private_folder(tmp_path / "a" / "b")
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_an_existing_folder_keeps_its_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o755)
    private_folder(folder)
    assert mode(folder) == 0o755


def test_others_lose_their_access_to_a_file_and_links_are_left_alone(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.touch(mode=0o644)
    link.symlink_to(path)
    restrict(link)
    assert mode(path) == 0o644
    restrict(path)
    assert mode(path) == 0o600
    restrict(tmp_path / "none")


def test_a_lock_is_held_by_one_and_waiting_for_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with exclusive(path):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        with pytest.raises(TimeoutError, match=r"0\.1 s"), exclusive(path, most_s=0.1):
            pass
    finally:
        done.set()
        thread.join()
    with exclusive(path):
        assert mode(path) == 0o600
