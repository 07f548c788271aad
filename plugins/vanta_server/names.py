"""Model names as clients send them: each chooses a policy or a track.

`vanta` is the configured policy, `vanta/NAME` a policy or a track, and any other name is the model
of a track. A policy wins over a track of the same name. Invariant: every name that `models` lists
resolves, and no other does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vanta import Runtime, TurnOptions, UnknownName

OURS = "vanta"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A name that clients may ask for.

    :param id: the name.
    :param options: the policy or the track that it chooses.
    :param about: what answers, in a sentence.
    :param window: the context window in tokens; None if it is not known.
    """

    id: str
    options: TurnOptions
    about: str
    window: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the model as OpenAI's list of models has it, with `meta` as llama-server's."""
        meta = {"n_ctx": self.window} if self.window else {}
        return {
            "id": self.id,
            "object": "model",
            "created": 0,
            "owned_by": OURS,
            "meta": {"about": self.about, **meta},
        }


def models(runtime: Runtime) -> list[ServedModel]:
    """Return every name that this runtime answers to."""
    served = {model.id: model for model in reversed(list(_models(runtime)))}
    return [served[name] for name in dict.fromkeys(model.id for model in _models(runtime))]


def find_model(runtime: Runtime, name: str) -> ServedModel:
    """Return what a name chooses.

    :param runtime: the runtime that answers.
    :param name: the name as the client sent it; "" for the configured policy.
    :raises UnknownName: if there is no such model.
    """
    served = {model.id: model for model in models(runtime)}
    found = served.get(name or OURS)
    if found is None:
        raise UnknownName("model", name, served)
    return found


def names_of(runtime: Runtime, options: TurnOptions) -> list[str]:
    """Return the names that choose what a turn with these options is answered by, one at least.

    :param runtime: the runtime that answers.
    :param options: the policy or the track of the turn; the track takes precedence.
    """
    chosen = (None, options.track) if options.track else (options.policy, None)
    names = [
        model.id
        for model in models(runtime)
        if (model.options.policy, model.options.track) == chosen
    ]
    return names or [f"{OURS}/{options.track or options.policy}"]


def _models(runtime: Runtime) -> Iterator[ServedModel]:
    """Yield every name, the preferred meaning of a name first."""
    yield ServedModel(OURS, TurnOptions(), "the configured policy")
    for policy in runtime.policies.values():
        if any(track in runtime.tracks for track in policy.tracks):
            yield ServedModel(
                f"{OURS}/{policy.name}", TurnOptions(policy=policy.name), policy.summary
            )
    for name, track in runtime.tracks.items():
        about = f"the track {name!r} alone: {track.engine.name} with {track.engine.model!r}"
        window = track.window or track.engine.window
        yield ServedModel(f"{OURS}/{name}", TurnOptions(track=name), about, window)
    for name, track in runtime.tracks.items():
        about = f"the model of the track {name!r}"
        window = track.window or track.engine.window
        yield ServedModel(track.engine.model, TurnOptions(track=name), about, window)
