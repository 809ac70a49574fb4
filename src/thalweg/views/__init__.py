"""A classifier seen three ways: as scores, as templates, as hyperplanes and regions.

All are in terms of the features as they come, before preprocessing: that is an
affine map, so it can be folded into the weights. `thalweg.plot` draws the records
made here. A model may be a `FittedModel`, or a fitted estimator that holds one as
``model_``.
"""

from thalweg.views.linear import WeightRecord, hyperplane, linear_form, weight_record
from thalweg.views.pictures import TemplateRecord, template_record, template_sheet, templates
from thalweg.views.regions import RegionRecord, decision_regions, region_record

__all__ = [
    "RegionRecord",
    "TemplateRecord",
    "WeightRecord",
    "decision_regions",
    "hyperplane",
    "linear_form",
    "region_record",
    "template_record",
    "template_sheet",
    "templates",
    "weight_record",
]
