"""Reports of a run in other forms: figures, comparisons, JUnit XML and an HTML page.

Invariant: pure functions of `RunReport.to_dict()`, fresh or read from a file.
"""
