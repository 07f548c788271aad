"""Replay: recorded turns through the scheduler of live ones, on a virtual clock.

`data.load` reads recordings (vanta's own traces, or tables), `stage.replay` runs them,
`summary.summarise` reduces the results, `plot.plot` draws them, and `tuning.tune` searches the
policy and the knobs that keep given limits. Invariant: the same recordings, policy and seed give
the same results.
"""
