"""Image features: what a linear classifier sees instead of pixels.

A part learns what it needs from training images (`fit`) and turns images into rows
of numbers (`transform`); ``a + b`` sets the columns of two parts side by side.

>>> from thalweg.features import HOG, ColorHistogram
>>> (HOG() + ColorHistogram()).size((32, 32, 3))
688
"""

from thalweg.features.base import Chain, Features, Progress
from thalweg.features.colour import ColorHistogram
from thalweg.features.hog import HOG
from thalweg.features.parse import parse_features
from thalweg.features.patches import Patches

__all__ = ["HOG", "Chain", "ColorHistogram", "Features", "Patches", "Progress", "parse_features"]
