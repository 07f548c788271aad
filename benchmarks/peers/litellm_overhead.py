"""A program that times a call through the router of litellm with an immediate answer.

Run by `benchmarks.peer` with an interpreter that has litellm: `litellm_overhead.py N`. Prints one
JSON object with all durations in seconds. The answer is litellm's own mock, without a socket.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

ANSWER = "Hello there, how can I help you today?"


async def main(repetitions: int) -> dict[str, Any]:
    """Time `repetitions` calls after ten to warm up."""
    router_of = importlib.import_module("litellm").Router
    model = {"model": "openai/mock", "api_key": "none", "mock_response": ANSWER}
    router = router_of(model_list=[{"model_name": "mock", "litellm_params": model}])
    messages = [{"role": "user", "content": "Hello?"}]
    seconds = []
    for round_ in range(repetitions + 10):
        begun = time.perf_counter()
        await router.acompletion(model="mock", messages=messages)
        if round_ >= 10:
            seconds.append(time.perf_counter() - begun)
    return {"version": importlib.metadata.version("litellm"), "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
