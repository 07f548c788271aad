"""Scheduling: one turn's legs under a policy, inside deadline, money and privacy."""
