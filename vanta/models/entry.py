"""The model registry as data: what vanta knows about a model before it is on disk.

Invariant: a `ModelEntry` consists of checked values: the registry file (`parse_registry`) and
plugins (`ModelEntry(...)`) pass through the same checks.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import pydantic

from vanta.errors import ConfigError, did_you_mean
from vanta.files import parse_toml, read_text
from vanta.installation import configs_dir
from vanta.models.recommended_sampling import RecommendedSampling

Capability = Literal["chat", "code", "embeddings", "tools", "vision"]

_MOST_BYTES = 1 << 24
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"\w[\w.-]{0,99}")
_SOURCE = re.compile(r"(?P<scheme>[a-z][a-z0-9+-]*):(?P<rest>\S.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CompanionFile:
    """A file that a model needs beside its own, such as a tokenizer.

    :param name: the file's name, without a folder.
    :param size_bytes: its size, or None if unknown.
    :param sha256: its hash as 64 hex digits, or None if unknown.
    :raises ConfigError: if the name or the hash is malformed.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = {"extra": "forbid"}

    name: str
    size_bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        _must(_FILE, self.name, f"a companion must be a file name, not {self.name!r}")
        if self.sha256 is not None:
            _must(_SHA256, self.sha256, f"{self.sha256!r} is not a sha256 of 64 hex digits")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the registry. A fact that is not known for certain is None.

    :param id: lower case. The store keeps the file as `ID.gguf`; one with companions lies in a
        folder `ID` under the name that it has in its source.
    :param source: `SCHEME:...`, see `vanta.models.sources`.
    :param family: name of the model's family.
    :param parameters: number of weights.
    :param quantisation: how they are stored, such as "Q4_1".
    :param size_bytes: size of the model's file.
    :param sha256: hash of the model's file, as 64 hex digits.
    :param archive_size_bytes: size of the archive that contains it, if there is one.
    :param archive_sha256: hash of that archive.
    :param licence: SPDX name.
    :param window: tokens that the model was trained for.
    :param chat_template: family of its message format.
    :param capabilities: what it was trained for.
    :param aliases: other names.
    :param kv_bytes_per_token: growth of the KV cache at 16 bits; 0 for a model without one.
    :param vocabulary: number of tokens.
    :param description: a sentence for people.
    :param companions: files that lie beside the model's, in the source and in the store.
    :param sampling: what the model's card recommends, with its address; None if it states nothing.
    :raises ConfigError: if the id, a hash or the source is malformed.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = {"extra": "forbid"}

    id: str
    source: str
    family: str = ""
    parameters: int | None = None
    quantisation: str = ""
    size_bytes: int | None = None
    sha256: str | None = None
    archive_size_bytes: int | None = None
    archive_sha256: str | None = None
    licence: str = ""
    window: int | None = None
    chat_template: str = ""
    capabilities: tuple[Capability, ...] = ()
    aliases: tuple[str, ...] = ()
    kv_bytes_per_token: int | None = None
    vocabulary: int | None = None
    description: str = ""
    companions: tuple[CompanionFile, ...] = ()
    sampling: RecommendedSampling | None = None

    def __post_init__(self) -> None:
        for name in (self.id, *self.aliases):
            _must(_ID, name, f"model {self.id!r}: a name must be like 'smollm2-135m', not {name!r}")
        for digest in filter(None, (self.sha256, self.archive_sha256)):
            _must(
                _SHA256, digest, f"model {self.id!r}: {digest!r} is not a sha256 of 64 hex digits"
            )
        _must(
            _SOURCE,
            self.source,
            f"model {self.id!r}: source {self.source!r} has no scheme; "
            "write one such as 'file:PATH', 'package:NAME#FILE' or 'wheel:NAME==VERSION#FILE'",
        )

    @property
    def scheme(self) -> str:
        """The part of `source` before the colon."""
        return self.source.partition(":")[0]

    @property
    def location(self) -> str:
        """The part of `source` after the colon."""
        return self.source.partition(":")[2]

    @property
    def file(self) -> str:
        """The path of the model inside a store."""
        if not self.companions:
            return f"{self.id}.gguf"
        return f"{self.id}/{PurePosixPath(self.location.rpartition('#')[2]).name}"

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        data = dataclasses.asdict(self)
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in data.items()
        }


def builtin_entries() -> dict[str, ModelEntry]:
    """Return the models of `configs/models.toml`, by id."""
    return read_registry(configs_dir() / "models.toml")


def read_registry(path: Path) -> dict[str, ModelEntry]:
    """Return the models of a registry file, by id.

    :param path: a TOML file.
    :raises ConfigError: naming file, model and key.
    """
    try:
        data = parse_toml(read_text(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the model registry {str(path)!r} cannot be read: {error}.") from error
    return parse_registry(data, origin=str(path))


def parse_registry(data: Mapping[str, Any], *, origin: str) -> dict[str, ModelEntry]:
    """Return the models of a registry, by id.

    :param data: one key, `models`, with a list of tables.
    :param origin: the source of `data`, for messages.
    :raises ConfigError: if an entry is malformed, or two models have the same name.
    """
    try:
        models = _schema().validate_python(data).get("models", [])
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(error, data, origin)) from error
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    _refuse_duplicates(models, origin)
    return {entry.id: entry for entry in models}


@functools.cache
def _schema() -> pydantic.TypeAdapter[dict[Literal["models"], list[ModelEntry]]]:
    return pydantic.TypeAdapter(dict[Literal["models"], list[ModelEntry]])


def _refuse_duplicates(models: list[ModelEntry], origin: str) -> None:
    owner: dict[str, str] = {}
    for entry in models:
        for name in (entry.id, *entry.aliases):
            if name in owner:
                raise ConfigError(
                    f"{origin}: the name {name!r} belongs to two models, {owner[name]!r} and "
                    f"{entry.id!r}. Rename one."
                )
            owner[name] = entry.id


def _explain(error: pydantic.ValidationError, data: Mapping[str, Any], origin: str) -> str:
    first = error.errors()[0]
    where = first["loc"]
    if len(where) < 3:
        return f"{origin}: the registry is a list of [[models]] tables: {first['msg']}."
    table, key = data["models"][where[1]], str(where[2])
    name = table.get("id", f"number {int(where[1]) + 1}")
    known = [field.name for field in dataclasses.fields(ModelEntry)]
    unknown = first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
    why = f"no such key. {did_you_mean(key, known)}" if unknown else f"{first['msg']}."
    return f"{origin}: model {name!r}, key {key!r}: {why}"


def _must(pattern: re.Pattern[str], value: str, message: str) -> None:
    if not pattern.fullmatch(value):
        raise ConfigError(f"{message}.")
