"""Anthropic's surface: messages, and the counting of their tokens."""
