"""Small real wheels with a model inside, and processes that pull them with the real pip."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vanta.models import ModelEntry, ModelStore

MEMBER = "tiny_model/tiny.gguf"

PULL = """
import json, os, sys
from pathlib import Path
from vanta.errors import VantaError
from vanta.models import ModelEntry, ModelStore
root, entry, stop_at = Path(sys.argv[1]), ModelEntry(**json.loads(sys.argv[2])), sys.argv[3]
def progress(done, total, phase):
    print(phase, done, total, flush=True)
    if phase == stop_at:
        print("there", flush=True)
        sys.stdin.read()
if sys.argv[4] == "1" and os.geteuid() == 0:
    os.seteuid(65534)
try:
    print("at", ModelStore(root, {entry.id: entry}).pull(entry.id, progress).path)
except VantaError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass(frozen=True)
class Wheel:
    """A wheel in a folder of its own, what is inside, and a registry entry that fits it."""

    path: Path
    model: bytes
    entry: ModelEntry

    @property
    def pip(self) -> dict[str, str]:
        """Settings under which pip finds this wheel and no other, without a network."""
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.path.parent)}

    def varied(self, **changes: object) -> ModelEntry:
        """The entry with other facts."""
        return replace(self.entry, **changes)  # type: ignore[arg-type]


def gguf_like(size: int, *, compressible: bool = False) -> bytes:
    """Bytes that begin as a GGUF file does; random ones do not get smaller in a wheel."""
    body = bytes(size - 4) if compressible else random.Random(7).randbytes(size - 4)  # noqa: S311
    return b"GGUF" + body


def build_wheel(folder: Path, model: bytes, *, name: str = "tiny-model") -> Wheel:
    """Write a wheel that carries `model`, with its RECORD, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    files = {
        f"{module}/__init__.py": b"raise SystemExit('a model package must not be imported')\n",
        f"{module}/tiny.gguf": model,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        "Requires-Dist: there-is-no-such-distribution\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = _record(files, info)
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return Wheel(path, model, _entry(path, model, name, module))


def puller(
    root: Path,
    entry: ModelEntry,
    wheel: Wheel,
    *,
    stop_at: str = "",
    unprivileged: bool = False,
) -> subprocess.Popen[str]:
    """A process of its own that pulls `entry`; it prints its progress and halts in `stop_at`.

    unprivileged: give up the rights of root first, to whom every folder is open.
    """
    facts = json.dumps(asdict(entry))
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(root), facts, stop_at, str(int(unprivileged))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **wheel.pip, "NO_PROXY": "127.0.0.1"},
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a puller; its exit code, output and errors."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def kept_files(store: ModelStore) -> list[str]:
    """The models that stand in the store's folder."""
    return sorted(path.name for path in store.root.glob("*.gguf"))


def _record(files: dict[str, bytes], info: str) -> bytes:
    lines = []
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()


def _entry(path: Path, model: bytes, name: str, module: str) -> ModelEntry:
    return ModelEntry(
        id="tiny",
        source=f"wheel:{name}==1.0#{module}/tiny.gguf",
        aliases=("small",),
        size_bytes=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        archive_size_bytes=path.stat().st_size,
        archive_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence="MIT",
        quantisation="Q4_0",
        window=2048,
        kv_bytes_per_token=1000,
        vocabulary=1000,
    )
