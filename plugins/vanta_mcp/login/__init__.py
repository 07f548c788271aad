"""Logging in to servers over HTTP: OAuth with the SDK, tokens in a file for their owner alone."""
