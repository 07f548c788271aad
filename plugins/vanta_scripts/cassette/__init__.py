"""Cassettes: what the engines said in a run, kept so that the run can be played without them.

Invariant: a cassette holds answers, and of what was asked only a fingerprint; nothing that looks
like a secret of this process's environment is written into it.
"""

from vanta_scripts.cassette.player import Player
from vanta_scripts.cassette.recorder import Recorder
from vanta_scripts.cassette.tape import Cassette, load_cassette, save_cassette

__all__ = ["Cassette", "Player", "Recorder", "load_cassette", "save_cassette"]
