"""A program that runs agents of pydantic-ai whose first model breaks after its first call.

Run by `benchmarks.peer` with an interpreter that has pydantic-ai:
`pydantic_ai_failover.py BASE_URL TURNS SILENCE_S KIND...`. Each turn is one agent over a
`FallbackModel` of two chat models, the second of which is sound, with one tool that counts. A turn
is tried streamed and whole. Prints one JSON object: the version, and for each way and kind the
turns that finished with the result of the tool in their answer, and those whose tool ran more than
once.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
import sys
from typing import Any

TOGETHER = 8


class Contestant:
    """Agents over two models of one server.

    :param base_url: the server, see `benchmarks.tools.breaking_server`.
    :param silence_s: seconds of silence after which a request is given up.
    """

    def __init__(self, base_url: str, silence_s: float) -> None:
        self._base_url = base_url
        self._silence_s = silence_s

    async def turn(self, kind: str, *, streamed: bool) -> tuple[bool, int]:
        """Run one turn; return whether it finished, and how often its tool ran."""
        pydantic_ai = importlib.import_module("pydantic_ai")
        fallback = importlib.import_module("pydantic_ai.models.fallback").FallbackModel
        runs = 0

        def send(to: str) -> str:
            """Send the letter."""
            nonlocal runs
            runs += 1
            return f"receipt for {to}"

        models = fallback(self._model(kind), self._model("sound"))
        agent = pydantic_ai.Agent(models, tools=[send])
        try:
            if streamed:
                async with agent.run_stream("Send the letter to Anna.") as result:
                    text = await result.get_output()
            else:
                text = (await agent.run("Send the letter to Anna.")).output
        except Exception:  # noqa: BLE001 - whatever it raises, the turn did not finish
            text = ""
        return "receipt for Anna" in text, runs

    def _model(self, kind: str) -> Any:
        openai = importlib.import_module("openai")
        chat = importlib.import_module("pydantic_ai.models.openai").OpenAIChatModel
        provider = importlib.import_module("pydantic_ai.providers.openai").OpenAIProvider
        client = openai.AsyncOpenAI(
            base_url=f"{self._base_url}/{kind}/v1",
            api_key="none",
            timeout=self._silence_s,
            max_retries=0,
        )
        return chat("m", provider=provider(openai_client=client))


async def main(base_url: str, turns: int, silence_s: float, kinds: list[str]) -> dict[str, Any]:
    """Run `turns` turns of each kind in both ways."""
    contestant = Contestant(base_url, silence_s)
    limit = asyncio.Semaphore(TOGETHER)

    async def turn(kind: str, *, streamed: bool) -> tuple[bool, int]:
        async with limit:
            return await contestant.turn(kind, streamed=streamed)

    ways: dict[str, Any] = {}
    for way in ("streamed", "whole"):
        for kind in kinds:
            tasks = [turn(kind, streamed=way == "streamed") for _ in range(turns)]
            outcomes = await asyncio.gather(*tasks)
            ways.setdefault(way, {})[kind] = {
                "finished": sum(finished for finished, _ in outcomes),
                "repeated": sum(runs > 1 for _, runs in outcomes),
            }
    return {"version": importlib.metadata.version("pydantic-ai-slim"), **ways}


if __name__ == "__main__":
    _, base_url, turns, silence_s, *kinds = sys.argv
    print(json.dumps(asyncio.run(main(base_url, int(turns), float(silence_s), kinds))))
