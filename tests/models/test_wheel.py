"""Fetching with the real pip: what arrives, what is refused, what a kill leaves behind."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import signal
import subprocess
import sys
import threading
import venv
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.models.wheels import (
    Wheel,
    build_wheel,
    finished,
    gguf_like,
    kept_files,
    puller,
)
from vanta.errors import ConfigError, ModelStoreError
from vanta.models import ModelEntry, ModelStore
from vanta.models.wheel import WheelSource, pip_options


def test_a_pull_brings_exactly_the_file_of_the_wheel(store: ModelStore, wheel: Wheel) -> None:
    found = store.pull("tiny")
    assert found.path.read_bytes() == wheel.model
    assert store.find("small") == found
    assert not list((store.root / ".fetch").glob("*")), "nothing unfinished stays"


def test_progress_tells_bytes_and_phases(store: ModelStore, wheel: Wheel) -> None:
    seen: list[tuple[int, int | None, str]] = []
    store.pull("tiny", lambda *step: seen.append(step))
    phases = [phase for _, _, phase in seen]
    assert phases[0] == "download"
    assert (wheel.path.stat().st_size,) * 2 + ("check",) in seen
    assert seen[-1] == (300_000, 300_000, "extract")


def test_a_second_pull_needs_no_pip(store: ModelStore, wheel: Wheel) -> None:
    first = store.pull("tiny")
    without = ModelStore(store.root, store.entries, {"wheel": WheelSource(python="/no/python")})
    assert without.pull("tiny") == first


def test_a_damaged_file_is_fetched_again(store: ModelStore, wheel: Wheel) -> None:
    path = store.pull("tiny").path
    path.write_bytes(b"GGUF" + bytes(len(wheel.model) - 4))
    assert store.pull("tiny").path.read_bytes() == wheel.model


def test_a_wheel_with_a_wrong_hash_is_refused_and_removed(store: ModelStore, wheel: Wheel) -> None:
    expected, actual = "0" * 64, wheel.entry.archive_sha256 or ""
    strict = ModelStore(store.root, {"tiny": wheel.varied(archive_sha256=expected)})
    with pytest.raises(ModelStoreError, match="sha256") as caught:
        strict.pull("tiny")
    assert expected in str(caught.value)
    assert actual in str(caught.value)
    assert not list(store.root.rglob("*.whl"))
    assert kept_files(store) == []


def test_a_file_with_a_wrong_hash_is_refused_and_removed(store: ModelStore, wheel: Wheel) -> None:
    expected, actual = "0" * 64, wheel.entry.sha256 or ""
    strict = ModelStore(store.root, {"tiny": wheel.varied(sha256=expected)})
    with pytest.raises(ModelStoreError, match="sha256") as caught:
        strict.pull("tiny")
    assert expected in str(caught.value)
    assert actual in str(caught.value)
    assert not list(store.root.rglob("*.partial"))
    assert kept_files(store) == []


def test_a_file_that_grows_past_its_size_is_cut_off(store: ModelStore, wheel: Wheel) -> None:
    small = ModelStore(store.root, {"tiny": wheel.varied(size_bytes=1000)})
    with pytest.raises(ModelStoreError, match="1000 were expected"):
        small.pull("tiny")
    assert kept_files(store) == []


def test_a_wheel_without_the_file_says_so(store: ModelStore, wheel: Wheel) -> None:
    other = wheel.varied(source="wheel:tiny-model==1.0#tiny_model/absent.gguf")
    with pytest.raises(ModelStoreError, match=r"cannot be unpacked.*absent\.gguf"):
        ModelStore(store.root, {"tiny": other}).pull("tiny")


def test_a_wheel_that_is_no_zip_archive_says_so(store: ModelStore, wheel: Wheel) -> None:
    wheel.path.write_bytes(b"not a zip archive")
    any_wheel = wheel.varied(archive_sha256=None)
    with pytest.raises(ModelStoreError, match="tiny"):
        ModelStore(store.root, {"tiny": any_wheel}).pull("tiny")
    assert kept_files(store) == []


def test_a_release_that_is_nowhere_gives_pips_own_words(store: ModelStore, wheel: Wheel) -> None:
    absent = wheel.varied(source="wheel:tiny-model==9.9#tiny_model/tiny.gguf")
    with pytest.raises(ModelStoreError, match=r"No matching distribution.*pip download --no-deps"):
        ModelStore(store.root, {"tiny": absent}).pull("tiny")


@pytest.mark.parametrize("source", ["wheel:tiny-model#f", "wheel:tiny==1", "wheel:a==1#../up"])
def test_a_source_of_the_wrong_form_is_a_config_error(store: ModelStore, source: str) -> None:
    entry = ModelEntry(id="wrong", source=source)
    with pytest.raises(ConfigError, match="must be like"):
        ModelStore(store.root, {"wrong": entry}).pull("wrong")


def test_an_interpreter_without_pip_says_how_to_get_it(
    store: ModelStore, wheel: Wheel, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    bare = ModelStore(store.root, store.entries, {"wheel": WheelSource(python=str(python))})
    with pytest.raises(ModelStoreError, match=r"No module named pip.*-m ensurepip --upgrade"):
        bare.pull("tiny")


def test_an_interpreter_that_is_not_there_says_so(store: ModelStore) -> None:
    broken = ModelStore(store.root, store.entries, {"wheel": WheelSource(python="/no/python")})
    with pytest.raises(ModelStoreError, match=r"'/no/python' has no working pip"):
        broken.pull("tiny")


def test_an_old_pip_is_asked_for_nothing_that_it_does_not_know() -> None:
    assert not {"--progress-bar", "--resume-retries"} & set(pip_options((22, 3)))
    assert "--progress-bar" in pip_options((24, 1))
    assert "--resume-retries" not in pip_options((25, 0))
    assert "--resume-retries" in pip_options((25, 1))
    assert "--no-deps" in pip_options((9, 0))


def test_an_installed_package_is_used_where_it_is(
    wheel: Wheel, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site)]
    subprocess.run([*install, str(wheel.path)], check=True)
    monkeypatch.syspath_prepend(str(site))
    without_pip = ModelStore(store.root, store.entries, {"wheel": WheelSource(python="/no/python")})
    assert without_pip.find("tiny").path == site / "tiny_model" / "tiny.gguf"
    assert without_pip.pull("tiny").path == site / "tiny_model" / "tiny.gguf"
    other_version = wheel.varied(source="wheel:tiny-model==1.1#tiny_model/tiny.gguf")
    with pytest.raises(ModelStoreError, match="not downloaded yet"):
        ModelStore(store.root, {"tiny": other_version}).find("tiny")


def test_an_installed_package_with_a_damaged_file_is_passed_over(
    wheel: Wheel, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site)]
    subprocess.run([*install, str(wheel.path)], check=True)
    monkeypatch.syspath_prepend(str(site))
    damaged = site / "tiny_model" / "tiny.gguf"
    damaged.write_bytes(b"GGUF" + bytes(len(wheel.model) - 4))
    assert store.pull("tiny").path == store.root / "tiny.gguf"
    assert store.find("tiny").path.read_bytes() == wheel.model
    assert damaged.exists(), "what is not ours is left alone"


@pytest.mark.parametrize("phase", ["download", "check", "extract"])
def test_a_kill_leaves_nothing_half_valid_and_the_next_pull_succeeds(
    store: ModelStore, wheel: Wheel, phase: str
) -> None:
    process = puller(store.root, wheel.entry, wheel, stop_at=phase)
    assert process.stdout is not None
    assert any(line == "there\n" for line in process.stdout), "it has to get so far"
    process.send_signal(signal.SIGKILL)
    assert finished(process)[0] == -signal.SIGKILL
    assert kept_files(store) == []
    with pytest.raises(ModelStoreError, match="not downloaded yet"):
        store.find("tiny")
    assert store.pull("tiny").path.read_bytes() == wheel.model


def test_a_wheel_that_had_arrived_is_not_fetched_again_after_a_kill(
    store: ModelStore, wheel: Wheel
) -> None:
    process = puller(store.root, wheel.entry, wheel, stop_at="extract")
    assert process.stdout is not None
    assert any(line == "there\n" for line in process.stdout)
    process.kill()
    finished(process)
    without_pip = ModelStore(store.root, store.entries, {"wheel": WheelSource(python="/no/python")})
    assert without_pip.pull("tiny").path.read_bytes() == wheel.model


class _Index(BaseHTTPRequestHandler):
    """Serves one wheel: while `halted` is set, half of it, and then nothing more."""

    wheel: ClassVar[Wheel]
    halted: ClassVar[threading.Event]
    gone: ClassVar[threading.Event]

    def do_GET(self) -> None:
        body = self.wheel.path.read_bytes()
        kind = "application/octet-stream"
        if not self.path.endswith(".whl"):
            name = self.wheel.path.name
            body, kind = f'<a href="/{name}">{name}</a>'.encode(), "text/html"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "text/html" or not self.halted.is_set():
            self.wfile.write(body)
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.recv(1)  # ends when pip is gone
        self.gone.set()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_cancelled_download_ends_pip_and_can_be_taken_up_again(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = build_wheel(tmp_path / "served", gguf_like(2_000_000))
    _Index.wheel, _Index.halted, _Index.gone = big, threading.Event(), threading.Event()
    _Index.halted.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ours = ModelStore(store.root, {"tiny": big.entry})

    class CancelledError(Exception):
        """What the caller's progress raises."""

    def cancel_on_data(done: int, _total: int | None, phase: str) -> None:
        if phase == "download" and done > 0:
            raise CancelledError

    try:
        with pytest.raises(CancelledError):
            ours.pull("tiny", cancel_on_data)
        assert _Index.gone.wait(30), "pip has to end with the pull"
        assert kept_files(store) == []
        _Index.halted.clear()
        seen: list[tuple[int, int | None, str]] = []
        ours.pull("tiny", lambda *step: seen.append(step))
        size = big.path.stat().st_size
        assert (size, size, "download") in seen
        assert ours.find("tiny").path.read_bytes() == big.model
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_two_processes_that_pull_at_once_both_get_the_whole_file(
    store: ModelStore, wheel: Wheel
) -> None:
    first = puller(store.root, wheel.entry, wheel, stop_at="extract")
    assert first.stdout is not None
    assert any(line == "there\n" for line in first.stdout)
    second = puller(store.root, wheel.entry, wheel)
    assert second.stdout is not None
    assert second.stdout.readline() == "waiting 0 None\n"
    code, _, err = finished(first)
    assert code == 0, err
    code, out, err = finished(second)
    assert code == 0, err
    assert "download" not in out, "the second finds what the first brought"
    assert kept_files(store) == ["tiny.gguf"]
    assert store.find("tiny").path.read_bytes() == wheel.model


def _limited(root: Path, wheel: Wheel, limit: int) -> tuple[int, str, str]:
    """Pull in a process whose files cannot grow past `limit` bytes: the system refuses to write."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        process = puller(root, wheel.entry, wheel)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    return finished(process)


@pytest.mark.parametrize("compressible", [True, False], ids=["while extracting", "while fetching"])
def test_a_full_disk_is_an_error_with_the_next_step(tmp_path: Path, compressible: bool) -> None:
    wheel = build_wheel(tmp_path / "links", gguf_like(3_000_000, compressible=compressible))
    store = ModelStore(tmp_path / "models", {"tiny": wheel.entry})
    code, _, err = _limited(store.root, wheel, 200_000)
    assert code == 1
    assert "ModelStoreError" in err
    assert "the disk is full" in err
    assert "VANTA_DATA_DIR" in err
    assert kept_files(store) == []
    assert not list(store.root.rglob("*.partial"))


def test_a_model_that_cannot_fit_on_the_disk_is_refused_before_fetching(
    store: ModelStore, wheel: Wheel
) -> None:
    huge = ModelStore(store.root, {"tiny": wheel.varied(size_bytes=1 << 60)})
    seen: list[str] = []
    with pytest.raises(ModelStoreError, match=r"are needed in .* are free"):
        huge.pull("tiny", lambda _done, _total, phase: seen.append(phase))
    assert seen == []


def test_a_store_that_is_a_file_is_an_error_with_the_next_step(
    store: ModelStore, wheel: Wheel
) -> None:
    store.root.parent.mkdir()
    store.root.write_text("in the way")
    with pytest.raises(ModelStoreError, match=r"a folder that you can use.*VANTA_DATA_DIR"):
        store.pull("tiny")


def test_a_folder_that_may_not_be_written_is_an_error_with_the_next_step(
    wheel: Wheel, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path / "closed" / "models", {"tiny": wheel.entry})
    store.root.parent.mkdir(mode=0o500)
    code, _, err = finished(puller(store.root, wheel.entry, wheel, unprivileged=True))
    assert code == 1
    assert "ModelStoreError" in err
    assert "Permission denied" in err
    assert "VANTA_DATA_DIR" in err


def test_the_registrys_own_model_is_here_and_every_byte_is_right(smollm2_path: Path) -> None:
    from vanta.models import builtin_entries

    entry = builtin_entries()["smollm2-135m-instruct"]
    assert smollm2_path.stat().st_size == entry.size_bytes
    with smollm2_path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
