"""Sampling: candidates, grammars, JSON schemas and stop strings."""
