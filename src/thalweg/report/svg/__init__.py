"""Drawing for pages: scales, and plots whose width is the reader's.

A `Plot` is drawn in Python as SVG, so that a page prints, needs no script to be seen, and is read by machines. Places
along x are per cent of the plot's width, so lines and marks spread over a phone's screen as over a desktop's while
letters, marks and line widths keep their size. Colours are CSS classes: light, dark and printed pages share a drawing.
"""

from thalweg.report.svg.plot import MARKERS, Plot
from thalweg.report.svg.scales import Categories, Linear, Log, Scale, nice, scale_for, short

__all__ = ["MARKERS", "Categories", "Linear", "Log", "Plot", "Scale", "nice", "scale_for", "short"]
