"""Figures: the data of each is a typed record first, the drawing comes after.

Figures are made without pyplot, so none stays open and no window appears:
``plot.field(f).savefig("f.png")``. The records of a model's pictures are in
`thalweg.views`.
"""

from thalweg.plot.basin_figure import basins
from thalweg.plot.challenge_figure import challenge_sheet, challenges
from thalweg.plot.confusion_figure import confusion, per_class
from thalweg.plot.curves_figure import curves
from thalweg.plot.edge_figure import edge
from thalweg.plot.field_figure import field
from thalweg.plot.field_values import FieldRecord, field_record
from thalweg.plot.hyperparameters_figure import hyperparameters
from thalweg.plot.mistakes_figure import mistakes
from thalweg.plot.newton_cost_figure import newton_cost
from thalweg.plot.noise_figure import noise
from thalweg.plot.path_figure import path
from thalweg.plot.plane_figure import plane
from thalweg.plot.race_animation import race_animation
from thalweg.plot.race_curves import race_curves
from thalweg.plot.race_figure import race, race_story
from thalweg.plot.race_pictures import race_pictures
from thalweg.plot.rate_map_figure import rate_map
from thalweg.plot.region_figure import decision_regions
from thalweg.plot.scaling_figure import scaling_rule
from thalweg.plot.sensitivity_figure import sensitivity
from thalweg.plot.spectrum_figure import spectrum
from thalweg.plot.stability_figure import stability
from thalweg.plot.template_figure import templates
from thalweg.plot.weight_figure import weights

__all__ = [
    "FieldRecord",
    "basins",
    "challenge_sheet",
    "challenges",
    "confusion",
    "curves",
    "decision_regions",
    "edge",
    "field",
    "field_record",
    "hyperparameters",
    "mistakes",
    "newton_cost",
    "noise",
    "path",
    "per_class",
    "plane",
    "race",
    "race_animation",
    "race_curves",
    "race_pictures",
    "race_story",
    "rate_map",
    "scaling_rule",
    "sensitivity",
    "spectrum",
    "stability",
    "templates",
    "weights",
]
