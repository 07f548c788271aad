"""Fit the weights of `vanta.context.token_families` on counts of many texts, and print them.

    python benchmarks/token_families.py VOCABULARIES TEXTS.jsonl

VOCABULARIES is a folder of GGUF files that have at least a vocabulary, such as llama.cpp's
`models/ggml-vocab-*.gguf`. Each line of TEXTS.jsonl is an object with `kind` (chat, tools, code,
docs or lang), `part` (fit or held) and `text`. The texts for the shipped weights were
LoCoMo's chats, BFCL's tool schemas, Python, C, JavaScript, vim scripts and JSON of common packages,
their documentation, and the tutor of vim and message catalogs of GNU programs in 110 languages.

Weights are those that overestimate the fitted texts least on average while almost none exceeds its
estimate (a linear program: quantile regression of the relative error), within bounds that keep
counts that can grow alone from being free, and a margin on top. Run as a program; needs
llama-cpp-python and SciPy.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

FAMILIES = {
    "openai": ("llama-bpe",),
    "qwen": ("qwen2", "qwen35"),
    "llama-3": ("llama-bpe",),
    "llama-2": ("llama-spm", "phi-3"),
    "command": ("command-r",),
    "deepseek": ("deepseek-llm",),
    "gemma": ("gemma-4",),
    "smollm": ("smollm2",),
    "any": (
        *("smollm2", "llama-bpe", "qwen2", "qwen35", "command-r", "deepseek-llm", "gemma-4"),
        *("llama-spm", "phi-3"),
    ),
}
"""The vocabularies of each family, by a part of their file names."""

IMPORTANCE = {"chat": 2.0, "tools": 0.6, "code": 1.0, "docs": 1.0, "lang": 0.35}
SHORT = 60.0
"""How much a token too few counts, in tokens too many."""

MARGIN = 0.03
FOREIGN_MARGIN = 0.15
"""The margin of scripts other than Latin: languages that share one differ more than the texts."""

FIRST_FOREIGN = "Cyrillic letters"
LEAST = {
    "letters of other words": 0.34,
    "capitals": 0.2,
    "changes inside a word, of case or to a digit": 0.2,
    "digits": 1.0,
    "runs of digits": 0.95,
    "signs": 0.34,
    "runs of spaces": 0.3,
    "spaces in them": 0.06,
    "line breaks": 0.6,
    "other characters of two bytes": 1.0,
    "characters of four bytes, and control characters": 3.0,
    "characters of codes, like base64": 0.75,
}
THREE_DIGITS = 0.34
"""The least weight of a digit in the vocabularies that join three."""


def main(vocabularies: Path, texts: Path) -> None:
    """Print the weights of each family and their errors on held-out texts."""
    import numpy as np

    from vanta.context.estimate import estimate_text
    from vanta.context.estimate_calibration import features

    rows = [json.loads(line) for line in texts.read_text("utf-8").splitlines()]
    counted = np.array([features(row["text"]) for row in rows], float)
    plain = np.array([estimate_text(row["text"]) for row in rows], float)
    kinds = np.array([row["kind"] for row in rows])
    held = np.array([row["part"] == "held" for row in rows])
    tokens = {name: np.array(_counts(vocabularies, name, rows), float) for name in FAMILIES["any"]}
    for family, names in FAMILIES.items():
        true = np.max([tokens[name] for name in names], axis=0)
        weights = _fit(counted[~held], true[~held], kinds[~held], _bounds(family))
        weights = np.ceil(weights * (1 + _margins()) * 100) / 100
        print(family, " ".join(f"{weight:g}" for weight in weights))
        for kind in IMPORTANCE:
            part = held & (kinds == kind)
            before = _errors(plain[part], true[part])
            print(f"    {kind}: {before} before, {_errors(counted[part] @ weights, true[part])}")


def _counts(vocabularies: Path, name: str, rows: list[dict[str, Any]]) -> list[int]:
    import llama_cpp

    (path,) = vocabularies.glob(f"*{name}*.gguf")
    vocabulary = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    return [len(vocabulary.tokenize(row["text"].encode(), add_bos=False)) for row in rows]


def _bounds(family: str) -> list[tuple[float, float]]:
    from vanta.context.estimate_calibration import FEATURES

    joins_digits = family in {"openai", "llama-3"}
    least = {**LEAST, "digits": THREE_DIGITS} if joins_digits else LEAST
    return [(least.get(feature.name, 0.0), 4.0) for feature in FEATURES]


def _margins() -> Any:
    import numpy as np

    from vanta.context.estimate_calibration import FEATURES

    first = [feature.name for feature in FEATURES].index(FIRST_FOREIGN)
    return np.where(np.arange(len(FEATURES)) < first, MARGIN, FOREIGN_MARGIN)


def _fit(counted: Any, true: Any, kinds: Any, bounds: list[tuple[float, float]]) -> Any:
    """Return the weights; each kind of text counts by its importance, whatever its number."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, eye, hstack

    rows, columns = counted.shape
    shares = counted / true[:, None]
    importance = np.array([IMPORTANCE[kind] / (kinds == kind).sum() for kind in kinds])
    cost = np.concatenate([(importance[:, None] * shares).sum(0), SHORT * importance])
    covers = hstack([csr_matrix(-shares), -eye(rows)])
    solution = linprog(
        cost,
        A_ub=covers,
        b_ub=-np.ones(rows),
        bounds=[*bounds, *[(0.0, math.inf)] * rows],
        method="highs",
    )
    return solution.x[:columns]


def _errors(estimate: Any, true: Any) -> str:
    error = (estimate - true) / true
    return f"{error.mean():+.0%}, {(error < 0).mean():.1%} too low, worst {error.min():+.0%}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
