"""Optimizers: step rules over gradients, in the forms that Thalweg, PyTorch, Optax and Keras give them."""

from thalweg.optimizers.adagrad import AdaGrad, AdaGradState
from thalweg.optimizers.adam import Adam, AdamState, AdamW
from thalweg.optimizers.base import Optimizer
from thalweg.optimizers.conventions import CONVENTIONS
from thalweg.optimizers.from_optax import Optax, OptaxState, Transformation, as_optimizer
from thalweg.optimizers.kfac import KFAC, KFACState
from thalweg.optimizers.lion import Lion, LionState
from thalweg.optimizers.muon import Muon, MuonState
from thalweg.optimizers.random_search import RandomSearch
from thalweg.optimizers.rmsprop import RMSProp, RMSPropState
from thalweg.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD, ScheduleFreeState
from thalweg.optimizers.sgd import SGD, SGDState
from thalweg.optimizers.traits import traits
from thalweg.optimizers.traits_table import traits_table

__all__ = [
    "CONVENTIONS",
    "KFAC",
    "SGD",
    "AdaGrad",
    "AdaGradState",
    "Adam",
    "AdamState",
    "AdamW",
    "KFACState",
    "Lion",
    "LionState",
    "Muon",
    "MuonState",
    "Optax",
    "OptaxState",
    "Optimizer",
    "RMSProp",
    "RMSPropState",
    "RandomSearch",
    "SGDState",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "ScheduleFreeState",
    "Transformation",
    "as_optimizer",
    "traits",
    "traits_table",
]
