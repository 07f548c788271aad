"""Replay: what a policy would have done, found out by doing it again on a clock that jumps.

`data.load` reads recordings (vanta's own traces, or tables), `stage.replay` runs them through the
scheduler that runs live turns, `summary.summarise` says what came of it, `plot.plot` draws it, and
`tuning.tune` looks for the policy and the knobs that keep inside given limits.
"""
