"""The peer litellm: a well-known router, in an environment of its own since vanta needs none.

Invariant: it runs in another process, and a peer that is not there or breaks is a reason to be
told (`NoPeer`), never a failure of the benchmark.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .settings import Settings

HOW_TO_GET_IT = (
    "no peer: litellm is not installed. python -m venv peer && peer/bin/pip install litellm, then "
    "--peer-python peer/bin/python"
)
_SCRIPTS = Path(__file__).parent / "peers"
_TIMEOUT_S = 300.0


class NoPeer(Exception):  # noqa: N818 - not an error: the figure goes without a peer
    """The peer could not be measured; the message says why and what to do."""


def measure(script: str, *arguments: str, settings: Settings) -> dict[str, Any]:
    """What `peers/SCRIPT.py` measured and printed as JSON. Raises NoPeer."""
    command = [str(_python(settings)), "-P", str(_SCRIPTS / f"{script}.py"), *arguments]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            env=environment,
        )
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise NoPeer(f"no peer: litellm could not be measured ({error})") from error
    said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    missing = HOW_TO_GET_IT if "No module named 'litellm'" in said else None
    raise NoPeer(missing or f"no peer: litellm could not be measured ({said})")


def _python(settings: Settings) -> Path:
    if settings.peer_python is not None:
        return settings.peer_python
    if importlib.util.find_spec("litellm") is None:
        raise NoPeer(HOW_TO_GET_IT)
    return Path(sys.executable)
