"""Which scripts failed the last time, so that those alone can be run again.

Invariant: a record that cannot be read or written is as good as none; it holds names and no text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from vanta_scripts.model import Script
from vanta_scripts.report import RunReport

_FILE = "last_failed.json"


def remember(report: RunReport, data_dir: Path) -> None:
    """Keep which scripts of `report` failed; what was not run stays as it was. Blocking."""
    known = _read(data_dir)
    known -= {_key(outcome.script) for outcome in report.outcomes if outcome.passed}
    known |= {_key(outcome.script) for outcome in report.outcomes if outcome.failed}
    with contextlib.suppress(OSError):
        (data_dir / _FILE).write_text(json.dumps(sorted(known)), encoding="utf-8")


def only_failed(scripts: Sequence[Script], data_dir: Path) -> list[Script]:
    """Those of `scripts` that failed the last time; all of them if none did. Blocking."""
    known = _read(data_dir)
    return [script for script in scripts if _key(script) in known] or list(scripts)


def _key(script: Script) -> str:
    return f"{Path(script.source).resolve()}::{script.name}"


def _read(data_dir: Path) -> set[str]:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return set(json.loads((data_dir / _FILE).read_text(encoding="utf-8")))
    return set()
