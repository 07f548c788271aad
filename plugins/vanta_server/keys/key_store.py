"""The server's keys: who may ask, as which user, for which models, how often and how much.

A key is random and long, so its SHA-256 is what is stored: it can be checked, not recovered.
Invariant: the file of the keys is its owner's alone, changes under a lock, and holds no key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vanta import RunError, UnknownName, UsageError
from vanta.files import exclusive, private_folder, read_text, write_private

PREFIX = "vk-"
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerKey:
    """What is known of a key.

    :param id: names it in lists and logs.
    :param digest: the SHA-256 of the key, in hexadecimal digits.
    :param user: whose memory and caps its requests count for.
    :param models: the names of models that it may ask for; empty for all.
    :param created_at: when it was created, in seconds since 1970.
    :param requests_per_minute: how many requests it may send in a minute; None for any number.
    :param tokens_per_minute: how many tokens its answers may take, prompts included.
    :param cap_usd: US dollars that its user may cost, over all sessions, days and keys.
    :raises UsageError: if a limit is not above 0.
    """

    id: str
    digest: str
    user: str
    models: tuple[str, ...] = ()
    created_at: float = 0.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    cap_usd: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "cap_usd"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise UsageError(f"{name} must be above 0, not {limit!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data without the digest, for lists."""
        data = dataclasses.asdict(self)
        del data["digest"]
        return data


class KeyStore:
    """The keys of a server, in a file.

    :param folder: the folder of the file; it is created with the first key.
    :ivar had_keys: whether there was a key at any time since this was made: a server whose last key
        is revoked, or whose file is removed, is not open to all.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys.json"
        self._read_at: tuple[int, int] | None = None
        self._keys: tuple[ServerKey, ...] = ()
        self.had_keys = False

    def list(self) -> Sequence[ServerKey]:
        """Return all keys, oldest first. Blocking, and cheap while the file does not change.

        :raises RunError: if the file cannot be read; the server then refuses every request.
        """
        try:
            status = self._path.stat()
            changed = (status.st_mtime_ns, status.st_ino)
            if changed != self._read_at:
                entries = json.loads(read_text(self._path, _MOST_BYTES))["keys"]
                self._keys = tuple(
                    ServerKey(**{**entry, "models": tuple(entry["models"])}) for entry in entries
                )
                self._read_at = changed
        except FileNotFoundError:
            self._keys, self._read_at = (), None
        except (OSError, ValueError, TypeError, KeyError, UsageError) as error:
            raise RunError(
                f"the keys in {str(self._path)!r} cannot be read: {error}. Restore the file, or "
                "remove it and create new keys with 'vanta keys create'."
            ) from error
        self.had_keys = self.had_keys or bool(self._keys)
        return self._keys

    def create(self, user: str, models: Sequence[str] = (), **limits: Any) -> tuple[ServerKey, str]:
        """Create a key. Blocking.

        :param user: whose memory and caps its requests count for.
        :param models: the names of models that it may ask for; empty for all.
        :param limits: fields of `ServerKey`: `requests_per_minute`, `tokens_per_minute`, `cap_usd`.
        :returns: what is known of it, and the key itself, which is shown only now.
        :raises UsageError: if a limit is not above 0.
        :raises RunError: if it cannot be stored.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ServerKey(
            secrets.token_hex(4), digest_of(secret), user, tuple(models), time.time(), **limits
        )
        self._change(lambda keys: [*keys, key])
        return key, secret

    def revoke(self, key_id: str) -> None:
        """Remove a key; requests with it are refused from now on. Blocking.

        :param key_id: the key's id.
        :raises UnknownName: if there is no such key.
        :raises RunError: if the file cannot be written.
        """

        def without(keys: Sequence[ServerKey]) -> Sequence[ServerKey]:
            if not any(key.id == key_id for key in keys):
                raise UnknownName("key", key_id, [key.id for key in keys])
            return [key for key in keys if key.id != key_id]

        self._change(without)

    def find(self, secret: str) -> ServerKey | None:
        """Return what is known of a key; None if it does not exist. Takes the same time for any.

        :param secret: the key as a client sent it.
        :raises RunError: if the keys cannot be read.
        """
        digest, found = digest_of(secret), None
        for key in self.list():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _change(self, change: Any) -> None:
        try:
            private_folder(self._path.parent)
            with exclusive(self._path.with_suffix(".lock")):
                self._read_at = None
                keys = [dataclasses.asdict(key) for key in change(self.list())]
                write_private(self._path, json.dumps({"keys": keys}, indent=1))
        except OSError as error:
            raise RunError(
                f"the keys in {str(self._path)!r} cannot be written: {error}. Make the folder "
                "writable, or name another data_dir."
            ) from error


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a key in hexadecimal digits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
