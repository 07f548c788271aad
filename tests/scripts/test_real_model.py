"""Scripts on the real small model: the same transcript twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from vanta.api import open as open_runtime
from vanta_scripts import RunOptions, Suite, parse_script

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
WARM = """
name: warm
track: local
system: short
seed: 11
repeat: 2
sampling: {temperature: 0.9, max_tokens: 8}
turns:
- say: Tell me of the sea.
- say: And of the wind?
- {say: "What did I ask of the sea?", session: later, expect: {recalled: Tell me of the sea.}}
"""


async def test_a_seed_gives_the_same_transcript_twice(tmp_path: Path, smollm2_path: Path) -> None:
    config = {
        "data_dir": str(tmp_path),
        "tracks": {"local": {"model": str(smollm2_path)}, "api": {"enabled": False}},
    }
    async with open_runtime(config) as runtime:
        transcripts = []
        for _ in range(2):
            report = await Suite(runtime, [parse_script(WARM)], RunOptions()).run()
            assert report.passed
            transcripts.append(
                [turn.reply.text for run in report.results for turn in run.turns if turn.reply]
            )
    assert transcripts[0] == transcripts[1]
    assert transcripts[0][:3] != transcripts[0][3:]  # each run has its own seed
