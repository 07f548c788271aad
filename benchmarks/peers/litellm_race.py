"""A program that races through the router of litellm, which takes the fastest response.

Run by `benchmarks.peer` with an interpreter that has litellm: `litellm_race.py SLOW FAST N`, the
first two arguments being base URLs. Prints one JSON object with a sample per race; times are
`time.monotonic()`, one clock for all processes.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

_WARM_UP = 3


async def main(slow: str, fast: str, rounds: int) -> dict[str, Any]:
    """Race `rounds` times after a few to warm up."""
    models = [_model("slow", slow), _model("fast", fast)]
    router = importlib.import_module("litellm").Router(model_list=models, num_retries=0)
    tags = [f"race {number} of litellm" for number in range(-_WARM_UP, rounds)]
    samples = [await _race(router, tag) for tag in tags]
    return {"version": importlib.metadata.version("litellm"), "samples": samples[_WARM_UP:]}


def _model(name: str, url: str) -> dict[str, Any]:
    parameters = {
        "model": "openai/test-model",
        "api_base": url,
        "api_key": "none",
        "max_retries": 0,
    }
    return {"model_name": name, "litellm_params": parameters}


async def _race(router: Any, tag: str) -> dict[str, Any]:
    sample: dict[str, Any] = {"tag": tag, "asked_at": time.monotonic(), "text": "", "failure": ""}
    try:
        stream = await router.abatch_completion_fastest_response(
            model="slow, fast", messages=[{"role": "user", "content": tag}], stream=True
        )
        sample["committed_at"] = time.monotonic()
        async for chunk in stream:
            _add(chunk.choices[0].delta.content or "", sample)
    except Exception as error:  # noqa: BLE001 - any error is a sample without an answer
        sample["failure"] = f"{type(error).__name__}: {error}"[:200]
    return sample


def _add(text: str, sample: dict[str, Any]) -> None:
    if text and not text.isspace():
        sample.setdefault("first_content_at", time.monotonic())
    sample["text"] += text


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
