"""The client: one connection and one toolset for each server."""
