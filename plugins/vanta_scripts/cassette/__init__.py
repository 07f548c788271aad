"""Cassettes: recorded engine output, which replays a run without its engines.

Invariant: a cassette holds the engines' output and only a fingerprint of each request. Values that
look like secrets of this process's environment are removed before it is written.
"""

from vanta_scripts.cassette.engines import Player, Recorder
from vanta_scripts.cassette.tape import Cassette, load_cassette, save_cassette

__all__ = ["Cassette", "Player", "Recorder", "load_cassette", "save_cassette"]
