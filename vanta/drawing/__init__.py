"""Pictures of a turn: `timeline` for a terminal, `svg` for a page.

Invariant: pure functions of a `Trace`; the two show the same lanes (`vanta.drawing.lanes`), and
nothing is in a picture that is not in the trace.
"""

from vanta.drawing.svg import svg
from vanta.drawing.timeline import timeline

__all__ = ["svg", "timeline"]
