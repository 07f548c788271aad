"""The server's keys: who may ask, for what, how often; and the commands that manage them."""

from vanta_server.keys.key_store import PREFIX, KeyStore, ServerKey, digest_of

__all__ = ["PREFIX", "KeyStore", "ServerKey", "digest_of"]
