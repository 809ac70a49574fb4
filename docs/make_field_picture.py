"""Draw the picture of landscapes.md: python docs/make_field_picture.py"""

from __future__ import annotations

from pathlib import Path

from thalweg import plot
from thalweg.landscapes import Rosenbrock

if __name__ == "__main__":
    plot.field(Rosenbrock()).savefig(Path(__file__).parent / "field.png", dpi=80)
