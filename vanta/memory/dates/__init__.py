"""Dates that are mentioned in a text: vocabulary, meanings and spans."""
