"""Classifiers trained by a recipe: linear, fully connected, or any model."""

from __future__ import annotations

import inspect
from typing import Any

import equinox as eqx
import numpy as np

from thalweg.defaults import default_epochs, default_optimizer, steady_optimizer
from thalweg.errors import DivergedError, UsageError
from thalweg.estimators.base import Classifier, Given, feature_names, seed_of
from thalweg.estimators.parts import nested, replaced
from thalweg.estimators.seen import Seen
from thalweg.fitted import FittedModel
from thalweg.models import Dense, Linear
from thalweg.penalties import NoPenalty
from thalweg.recipe import Recipe
from thalweg.training import Settings, train
from thalweg.training.incremental import Progressed, begin, learn
from thalweg.training.status import DIVERGED
from thalweg.views import linear_form

__all__ = ["DenseClassifier", "LinearClassifier", "RecipeClassifier", "of_recipe"]

_SHARED = """
        loss: `losses.Softmax()` (None, the default) or `losses.Hinge()`.
        penalty: one of `thalweg.penalties`, ``strength × R(W)`` beside the mean loss; None: none.
        optimizer: one of `thalweg.optimizers`. None: AdamW, warmed up and then following a cosine
            to 0 (in `partial_fit`: at a constant rate), its rate sized to the features.
        features, augmentation: of `thalweg.features` and `thalweg.augmentation`, for images; see ``input_shape``.
        clip, averaging: as in `Recipe`.
        batch_size: examples a step, or ``"full"``. None: 32 to 256, growing with the examples.
        epochs: passes over the examples. None: as many as give about 2,500 steps, 15 to 100.
        preprocessing: ``auto``, ``center``, ``standardize``, ``scale`` or None, fitted with the model.
            ``auto`` takes ``center`` for sparse and uint8 features, ``standardize`` for others.
        input_shape: (height, width, channels), where the rows of X are images laid flat; None: vectors.
        class_weight: None, ``"balanced"``, or a mapping of classes to weights, as in scikit-learn.
        patience: epochs without a lower loss on held-out examples after which training stops, the
            best epoch's weights kept; None: no examples are held out, and all epochs are trained.
        validation_fraction: what share is held out where ``patience`` is given.
        random_state: the recipe's seed (a number), or what one is drawn from.

    Attributes after `fit`: ``model_`` (a `FittedModel`), ``classes_``, ``recipe_`` (with every default filled
    in), ``n_iter_`` (epochs), ``loss_curve_`` (mean data loss of each epoch).

    A sparse X is kept in compressed rows; dense are a minibatch of it at a time, the weights and their
    gradients. Weights of examples scale their losses: a weight of 2 counts a loss twice, but does not
    draw its example twice, so the steps on the way are not those of repeated examples.
"""


class RecipeClassifier(Classifier):
    __doc__ = f"""A classifier of any model that a recipe takes, trained by minibatches as `thalweg.fit` trains it.

    Arguments:
        model: one of `thalweg.models`, or a pair ``(init, apply)`` of JAX functions; None: `models.Linear()`.
    {_SHARED}"""

    model: Any
    loss: Any
    optimizer: Any

    def __init__(
        self,
        model: Any = None,
        *,
        loss: Any = None,
        penalty: Any = None,
        optimizer: Any = None,
        features: Any = None,
        augmentation: Any = None,
        clip: float | None = None,
        averaging: Any = None,
        batch_size: int | str | None = None,
        epochs: int | None = None,
        preprocessing: str | None = "auto",
        input_shape: tuple[int, ...] | None = None,
        class_weight: Any = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = 0,
    ) -> None:
        self.model = model
        _assign(self, locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RecipeClassifier:
        """Train on features X (N, D), dense or sparse, with labels y (N,) and, if given, weights (N,)."""
        given = self._given(X, y, sample_weight)
        self._progress: Progressed | None = None
        recipe = self._recipe(given, endless=False)
        share = self.validation_fraction
        if isinstance(share, bool) or not isinstance(share, (float, np.floating)) or not 0 < share < 1:
            raise UsageError(f"validation_fraction is {share!r}; give a share between 0 and 1, such as 0.1")
        hold = None if self.patience is None else float(share)
        seen = Seen.of(given, recipe, self.preprocessing, self.input_shape, feature_names(self), hold=hold)
        settings = Settings(patience=self.patience)
        outcome = train([recipe], {recipe.features: seen.inputs}, len(given.names), settings)
        (record,) = outcome.records
        if outcome.interrupted:
            raise KeyboardInterrupt
        if record.status is not None and record.status.name == DIVERGED:
            raise DivergedError(f"training {record.status.reason}: give a lower learning rate")
        self.n_iter_ = record.epochs
        self.loss_curve_ = np.asarray(record.history["data_loss"])
        self._fitted(seen, recipe, record.params, record.model_state, given)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> RecipeClassifier:
        """Train once through a portion of the examples, going on from what `fit` or earlier portions taught.

        ``classes`` names all classes, and must stand in the first call. Preprocessing and features are
        fitted to the first portion, and kept: shuffle the data, and let it be large enough to tell
        the features' spread (a feature that is constant in it keeps its scale). Weights count as they come, whatever
        their mean in a portion. Raises a UsageError for schedules that follow the whole run, and a
        DivergedError, nothing being lost, where a portion's loss leaves the finite numbers.
        """
        first = not hasattr(self, "model_")
        given = self._portion(X, y, classes, sample_weight, first=first)
        if first or self._progress is None:
            recipe = self._recipe(given, endless=True)
            start = None if first else (self.model_.params, self.model_.model_state)
        else:
            recipe, start = self.recipe_, None
        like = None if first else self.model_
        names = feature_names(self)
        seen = Seen.of(given, recipe, self.preprocessing, self.input_shape, names, portion=True, like=like)
        before = self._progress
        if before is None:
            before = begin(recipe, seen.inputs.training.features.shape[1:], len(given.names), start)
        after, params, state, loss = learn(recipe, before, seen.inputs.training)
        self._progress = after
        self.n_iter_ = 1 if first else self.n_iter_ + 1
        self.loss_curve_ = np.append(self.loss_curve_ if not first else [], loss)
        self._fitted(seen, recipe, params, state, given)
        return self

    def _portion(self, X: Any, y: Any, classes: Any, sample_weight: Any, *, first: bool) -> Given:
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight is {self.class_weight!r}, and no portion tells how the classes are balanced: give a "
                "mapping of classes to weights, or sample_weight"
            )
        if classes is None and first:
            raise ValueError("the first call of partial_fit must name all classes: partial_fit(X, y, classes=...)")
        if classes is not None:
            named = np.unique(classes)
            if not first and not np.array_equal(named, self.classes_):
                raise ValueError(
                    f"classes is {named.tolist()}, which is not the same as in the first call: {self.classes_.tolist()}"
                )
            if len(named) < 2:
                raise ValueError(f"classes names one class only, {named.tolist()}; a classifier needs at least two")
            self.classes_ = named
        if first:
            self._progress = None
        return self._given(X, y, sample_weight, first=first, classes=self.classes_)

    def _recipe(self, given: Given, *, endless: bool) -> Recipe:
        """Return the recipe, with what was left to the data filled in."""
        model = self._model()
        features, count = given.features.shape[1], given.features.shape[0]
        batch, epochs = default_epochs(count)
        optimizer = self.optimizer
        if optimizer is None:
            choose = steady_optimizer if endless else default_optimizer
            optimizer = choose(features, linear=isinstance(model, Linear))
        return Recipe(
            model=model,
            loss=self._loss(),
            penalty=NoPenalty() if self.penalty is None else self.penalty,
            optimizer=optimizer,
            features=self.features,
            augmentation=self.augmentation,
            clip=self.clip,
            averaging=self.averaging,
            batch_size=batch if self.batch_size is None else self.batch_size,
            epochs=epochs if self.epochs is None else self.epochs,
            seed=seed_of(self.random_state),
        )

    def _model(self) -> Any:
        if isinstance(self.model, Recipe):
            raise UsageError("model is a whole Recipe: estimators.of_recipe(recipe) makes the classifier of one")
        return Linear() if self.model is None else self.model

    def _fitted(self, seen: Seen, recipe: Recipe, params: Any, model_state: Any, given: Given) -> None:
        self.recipe_ = recipe
        self.model_ = FittedModel(
            recipe,
            params,
            model_state,
            seen.preprocessing,
            given.names,
            seen.shape,
            feature_dtype="uint8" if given.features.dtype == np.uint8 else "float32",
            feature_names=seen.feature_names,
            feature_state=seen.state,
        )
        self._finish()

    def adopt(self, other: Classifier, losses: np.ndarray) -> RecipeClassifier:
        """Take over what another classifier fitted by this one's recipe, whose data losses by epoch were ``losses``."""
        for name in ("classes_", "n_features_in_", "feature_names_in_", "model_"):
            if hasattr(other, name):
                setattr(self, name, getattr(other, name))
        self.recipe_ = other.model_.recipe
        self.n_iter_, self.loss_curve_, self._progress = len(losses), np.asarray(losses), None
        self._finish()
        return self

    def _finish(self) -> None:
        """Derive what hangs on the model."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with ``deep`` also those inside them: ``optimizer__learning_rate__peak``."""
        found: dict[str, Any] = super().get_params(deep=False)
        if deep:
            for name, value in list(found.items()):
                found |= nested(name, value)
        return found

    def set_params(self, **params: Any) -> RecipeClassifier:
        """Set parameters, also inside others: ``penalty__strength=1e-3``."""
        inner = {name: value for name, value in params.items() if "__" in name}
        super().set_params(**{name: value for name, value in params.items() if name not in inner})
        for name, value in inner.items():
            head, *path = name.split("__")
            if head not in self.get_params(deep=False):
                super().set_params(**{head: value})  # raises, naming the parameters that there are
            setattr(self, head, replaced(getattr(self, head), path, value))
        return self

    def _summary(self) -> list[tuple[str, str]]:
        last = f"{self.loss_curve_[-1]:.4g}" if len(self.loss_curve_) else "–"
        return [*super()._summary(), ("epochs", str(self.n_iter_)), ("mean data loss of the last epoch", last)]


class LinearClassifier(RecipeClassifier):
    __doc__ = f"""A linear classifier, scores = W x + b, trained by minibatches as `thalweg.fit` trains it.

    For full-batch problems with L1, L2 or elastic net, `PathClassifier` reaches the optimum itself, with
    a proof; this one takes any optimizer, schedule, loss and penalty, and data in portions.

    Arguments:
    {_SHARED}
    ``coef_`` (classes, D) and ``intercept_`` (classes,) act on X as it comes, preprocessing folded in;
    for two classes they are (1, D) and (1,), of the second class's score less the first's.
    """

    def __init__(
        self,
        *,
        loss: Any = None,
        penalty: Any = None,
        optimizer: Any = None,
        features: Any = None,
        augmentation: Any = None,
        clip: float | None = None,
        averaging: Any = None,
        batch_size: int | str | None = None,
        epochs: int | None = None,
        preprocessing: str | None = "auto",
        input_shape: tuple[int, ...] | None = None,
        class_weight: Any = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = 0,
    ) -> None:
        _assign(self, locals())

    def _model(self) -> Any:
        return Linear()

    def _finish(self) -> None:
        if self.features is None:
            self.coef_, self.intercept_ = coefficients(*linear_form(self.model_))


class DenseClassifier(RecipeClassifier):
    __doc__ = f"""A fully connected network, trained by minibatches as `thalweg.fit` trains it; see `models.Dense`.

    Arguments:
        hidden: the sizes of the hidden layers.
        activation: "relu", "tanh", "sigmoid", "gelu" or "silu".
        dropout: the rate at which hidden units are dropped in training; None: none are.
        batch_norm: whether hidden layers are normalised over the batch.
    {_SHARED}"""

    def __init__(
        self,
        hidden: Any = (100,),
        *,
        activation: str = "relu",
        dropout: float | None = None,
        batch_norm: bool = False,
        loss: Any = None,
        penalty: Any = None,
        optimizer: Any = None,
        features: Any = None,
        augmentation: Any = None,
        clip: float | None = None,
        averaging: Any = None,
        batch_size: int | str | None = None,
        epochs: int | None = None,
        preprocessing: str | None = "auto",
        input_shape: tuple[int, ...] | None = None,
        class_weight: Any = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = 0,
    ) -> None:
        self.hidden, self.activation, self.dropout, self.batch_norm = hidden, activation, dropout, batch_norm
        _assign(self, locals())

    def _model(self) -> Any:
        return Dense(self.hidden, self.activation, self.dropout, self.batch_norm)


def of_recipe(recipe: Recipe, **options: Any) -> RecipeClassifier:
    """Return the (unfitted) classifier of a recipe: of linear and plain fully connected models the ones named so.

    ``options`` are further arguments, such as ``preprocessing`` and ``class_weight``.
    """
    parts = ("loss", "penalty", "optimizer", "features", "augmentation", "clip", "averaging", "batch_size", "epochs")
    options = {name: getattr(recipe, name) for name in parts} | {"random_state": recipe.seed} | options
    model = recipe.model
    if eqx.tree_equal(model, Linear()):
        return LinearClassifier(**options)
    if isinstance(model, Dense):
        own = {name: getattr(model, name) for name in ("hidden", "activation", "dropout", "batch_norm")}
        if eqx.tree_equal(model, Dense(**own)):
            return DenseClassifier(**own, **options)
    return RecipeClassifier(model, **options)


def _assign(estimator: Any, values: dict[str, Any]) -> None:
    """Set the parameters that all of them share, as scikit-learn wants it: as they come."""
    for name in inspect.signature(RecipeClassifier.__init__).parameters:
        if name not in ("self", "model"):
            setattr(estimator, name, values[name])


def coefficients(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coef_ and intercept_ in scikit-learn's shapes: of two classes one row, the difference of both."""
    if len(weights) == 2:
        return weights[1:] - weights[:1], bias[1:] - bias[:1]
    return weights, bias
