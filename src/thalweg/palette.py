"""The colours that figures and pages share: one set for light paper, one for dark."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "Palette"]


@dataclass(frozen=True)
class Palette:
    """Paper, ink, faint lines, alarm, and one colour for each of several things shown at once."""

    paper: str
    ink: str
    faint: str
    alarm: str
    palette: tuple[str, ...]

    def colour(self, place: int) -> str:
        """Return the colour of the thing at a place; they repeat, so give it a mark or a style of its own too."""
        return self.palette[place % len(self.palette)]


# Okabe and Ito's colours, which colour-blind readers can tell apart; black stands first there and is the ink here.
# Their yellow, sky blue and orange are too pale for lines on white (3 to 1: WCAG 2.2, 1.4.11): an indigo and a brown
# stand for the last two, and keep 14 CIELAB units at least from all others in Machado's simulations (2009) of
# protanopia, deuteranopia and tritanopia.
LIGHT = Palette(
    "#ffffff", "#1f2328", "#c4c9cf", "#c23b22", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#3D3D8F", "#6E4A00")
)
DARK = Palette(
    "#14171a", "#e6e8ea", "#4a5058", "#ff8f7a", ("#56B4E9", "#E69F00", "#2ec48d", "#e39ac4", "#F0E442", "#ff9d5c")
)
