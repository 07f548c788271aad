"""Tests of `vanta.normalising`."""
