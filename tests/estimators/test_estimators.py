"""The estimators beside scikit-learn's, beside the engine, and in scikit-learn's own machinery."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import set_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import thalweg as tw
from thalweg.estimators import (
    DenseClassifier,
    LinearClassifier,
    PathClassifier,
    RecipeClassifier,
    SweepClassifier,
    of_recipe,
)
from thalweg.features import ColorHistogram
from thalweg.losses import Hinge
from thalweg.optimizers import SGD, Adam, RandomSearch
from thalweg.penalties import L2
from thalweg.schedules import Cosine
from thalweg.training.sparse_rows import SparseRows

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versi color", "<b>virginica</b>"])[Y]
QUICK = {"batch_size": "full", "epochs": 3, "optimizer": SGD(0.1), "preprocessing": None}


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(0).integers(0, 4, len(Y)).astype(float)


class TestPathAgreesWithLogisticRegression:
    """Both at their optimum: 1e-12 of the value leaves 1e-5 of a coefficient, by strong convexity and measured."""

    @pytest.mark.parametrize("balance", [None, "balanced"])
    @pytest.mark.parametrize("labels", [Y, Y > 0], ids=["three classes", "two"])
    def test_coefficients(self, labels, balance, weights):
        ours = PathClassifier(C=0.5, preprocessing=None, tolerance=1e-12, class_weight=balance)
        theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000, solver="newton-cg", class_weight=balance)
        for one in (ours, theirs):
            one.fit(X, labels, sample_weight=weights + 0.5)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=5e-5)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=2e-6)
        np.testing.assert_allclose(ours.C_, 0.5, rtol=1e-12)
        assert ours.bounds_.max() <= 1e-12

    def test_several_strengths_by_cross_validation(self):
        ours = PathClassifier(C=[0.01, 1.0], folds=3).fit(X, NAMES)
        np.testing.assert_allclose(ours.C_, 1.0, rtol=1e-12)
        assert ours.scores_.shape == (2, 3)
        assert set(ours.predict(X)) <= set(NAMES)
        assert ours.path_.best is not None
        assert ours.path_.test is None


@pytest.mark.parametrize("preprocessing", [None, "standardize"])
def test_weights_count_as_repeats(preprocessing, weights):
    keep = weights > 0
    arguments = {"C": 1.0, "preprocessing": preprocessing, "tolerance": 1e-12}
    weighted = PathClassifier(**arguments).fit(X, Y, sample_weight=weights)
    repeated = PathClassifier(**arguments).fit(np.repeat(X[keep], weights[keep].astype(int), axis=0),
                                               np.repeat(Y[keep], weights[keep].astype(int)))  # fmt: skip
    # 1e-12 of the value: see above; features of another mean round to float32 differently.
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=2e-5)


def softmax_descent(x, y, steps, rate, weights=None):
    """Plain gradient descent on the weighted mean cross-entropy, in float64, from 0."""
    w, b = np.zeros((3, x.shape[1])), np.zeros(3)
    share = (np.ones(len(y)) if weights is None else weights) / (len(y) if weights is None else weights.sum())
    for _ in range(steps):
        s = x @ w.T + b
        p = np.exp(s - s.max(axis=1, keepdims=True))
        g = share[:, None] * (p / p.sum(axis=1, keepdims=True) - np.eye(3)[y])
        w, b = w - rate * g.T @ x, b - rate * g.sum(axis=0)
    return w, b


class TestLinear:
    @pytest.mark.parametrize("weighted", [False, True])
    def test_full_batches_are_gradient_descent(self, weighted, weights):
        given = weights if weighted else None
        model = tw.models.Linear(scale=0.0)
        ours = RecipeClassifier(model, **QUICK).fit(X, Y, sample_weight=given)
        w, b = softmax_descent(X, Y, 3, 0.1, given)
        # float32 sums over 150 examples.
        np.testing.assert_allclose(ours.model_.params["weight"], w, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(ours.model_.params["bias"], b, rtol=2e-5, atol=2e-6)

    def test_class_weights_multiply(self):
        factors = {0: 1.0, 1: 2.0, 2: 3.0}
        one = LinearClassifier(**QUICK, class_weight=factors).fit(X, Y)
        other = LinearClassifier(**QUICK).fit(X, Y, sample_weight=np.array([1.0, 2.0, 3.0])[Y])
        np.testing.assert_array_equal(one.coef_, other.coef_)

    def test_coefficients_act_on_features_as_they_come(self):
        ours = LinearClassifier(epochs=3).fit(X, Y)
        np.testing.assert_allclose(X @ ours.coef_.T + ours.intercept_, ours.decision_function(X), rtol=1e-4, atol=1e-4)
        two = LinearClassifier(epochs=3).fit(X, Y > 0)
        assert two.coef_.shape == (1, 4)
        np.testing.assert_allclose(X @ two.coef_[0] + two.intercept_, two.decision_function(X), rtol=1e-4, atol=1e-4)

    def test_early_stopping_holds_examples_out(self):
        ours = LinearClassifier(patience=1, epochs=60, optimizer=SGD(1.0), random_state=1).fit(X, NAMES)
        assert ours.n_iter_ < 60
        assert len(ours.loss_curve_) == ours.n_iter_
        assert ours.score(X, NAMES) > 0.8

    def test_examples_of_weight_0_judge_nothing(self, weights):
        """Their labels may be anything, also where examples are held out."""
        wrong = np.where(weights == 0, (Y + 1) % 3, Y)
        options = {"patience": 1, "epochs": 5, "optimizer": SGD(1.0)}
        one, other = (LinearClassifier(**options).fit(X, y, sample_weight=weights) for y in (Y, wrong))
        np.testing.assert_array_equal(one.coef_, other.coef_)

    def test_held_out_examples_count_by_weight(self):
        """Two kinds of examples at one place: the one that weighs more says when the loss is lowest."""
        x = np.repeat([[-1.0], [1.0]], 40, axis=0)
        y = np.tile([0, 0, 0, 1], 20)
        model = LinearClassifier(patience=2, epochs=8, optimizer=SGD(0.5), preprocessing=None, batch_size="full")
        one = model.fit(x, y, sample_weight=np.where(y == 1, 9.0, 1.0)).decision_function(x)
        assert (one > 0).all()  # 9 of 12 by weight are of class 1

    def test_random_search_counts_by_weight(self):
        space = {"optimizer": RandomSearch(candidates=50, scale=1.0), "epochs": 2, "preprocessing": None}
        x = np.array([[1.0, 0.0]] * 4)
        for heavy in (0, 1):
            ours = LinearClassifier(**space).fit(
                x, [0, 0, 1, 1], sample_weight=np.where([0, 0, 1, 1], heavy, 1 - heavy) + 0.01
            )
            assert set(ours.predict(x)) == {heavy}

    def test_divergence_is_an_error(self):
        with pytest.raises(tw.DivergedError, match="lower learning rate"):
            LinearClassifier(optimizer=SGD(1e30), penalty=L2(1e10), epochs=9).fit(X, Y)

    def test_the_hinge_has_no_probabilities_and_can_be_calibrated(self):
        hinge = LinearClassifier(loss=Hinge(), epochs=3)
        assert not hasattr(hinge, "predict_proba")
        assert hasattr(LinearClassifier(), "predict_proba")
        calibrated = CalibratedClassifierCV(hinge, cv=2).fit(X, Y)
        assert calibrated.predict_proba(X).shape == (150, 3)


class TestPortions:
    def test_two_passes_are_two_epochs(self):
        whole = LinearClassifier(**{**QUICK, "epochs": 2}).fit(X, Y)
        portions = LinearClassifier(**QUICK).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)
        np.testing.assert_allclose(portions.coef_, whole.coef_, rtol=1e-6, atol=1e-7)
        assert portions.n_iter_ == 2

    def test_it_goes_on_from_fit(self):
        begun = LinearClassifier(**QUICK).fit(X, Y)
        before = begun.coef_.copy()
        begun.partial_fit(X, Y)
        again = LinearClassifier(**{**QUICK, "epochs": 4}).fit(X, Y)
        assert not np.array_equal(begun.coef_, before)
        np.testing.assert_allclose(begun.coef_, again.coef_, rtol=1e-6, atol=1e-7)

    def test_momentum_and_a_copy_are_kept(self):
        recipe = {**QUICK, "optimizer": Adam(0.01)}
        one = LinearClassifier(**recipe).partial_fit(X, Y, classes=[0, 1, 2])
        import pickle

        other = pickle.loads(pickle.dumps(one))  # noqa: S301 - scikit-learn's users do
        np.testing.assert_array_equal(one.partial_fit(X, Y).coef_, other.partial_fit(X, Y).coef_)
        whole = LinearClassifier(**{**recipe, "epochs": 2}).fit(X, Y)
        np.testing.assert_allclose(one.coef_, whole.coef_, rtol=1e-5, atol=1e-6)

    def test_weights_tell_portions_apart(self):
        """A gradient step of weight 3 is three times as long, whatever the portion's mean weight."""
        steps = []
        for weight in (1.0, 3.0):
            model = RecipeClassifier(tw.models.Linear(scale=0.0), **QUICK)
            model.partial_fit(X, Y, classes=[0, 1, 2], sample_weight=np.full(150, weight))
            steps.append(model.model_.params["weight"])
        np.testing.assert_allclose(steps[1], 3 * steps[0], rtol=1e-6)

    def test_a_first_portion_of_one_example(self):
        ours = LinearClassifier(optimizer=Adam(0.05), batch_size=16)
        ours.partial_fit(X[:1], Y[:1], classes=[0, 1, 2])
        for _ in range(20):
            ours.partial_fit(X, Y)
        assert ours.score(X, Y) > 0.8  # 0.33 where the one example's features lost their scale

    def test_weights_that_overflow_in_the_last_step(self):
        ours = LinearClassifier(**{**QUICK, "optimizer": SGD(1e30)})
        with pytest.raises(tw.DivergedError):
            ours.partial_fit(X * 1e10, Y, classes=[0, 1, 2])

    def test_a_portion_may_lack_a_class(self):
        ours = LinearClassifier(**QUICK).partial_fit(X[:100], Y[:100], classes=[0, 1, 2])
        assert ours.decision_function(X).shape == (150, 3)

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(ValueError, match="must name all classes"):
            LinearClassifier().partial_fit(X, Y)
        with pytest.raises(ValueError, match="no portion tells"):
            LinearClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])
        with pytest.raises(ValueError, match="not among the classes"):
            LinearClassifier().partial_fit(X, Y, classes=[0, 1])
        begun = LinearClassifier().partial_fit(X, Y, classes=[0, 1, 2])
        with pytest.raises(ValueError, match="not the same as in the first call"):
            begun.partial_fit(X, Y, classes=[0, 1, 2, 3])
        with pytest.raises(tw.UsageError, match="whole run"):
            LinearClassifier(optimizer=Adam(Cosine(0.1))).partial_fit(X, Y, classes=[0, 1, 2])

    def test_divergence_loses_nothing(self):
        ours = LinearClassifier(**QUICK).partial_fit(X, Y, classes=[0, 1, 2])
        before = ours.coef_.copy()
        with pytest.raises(tw.DivergedError, match="kept"):
            ours.partial_fit(X * 1e37, Y)
        np.testing.assert_array_equal(ours.coef_, before)
        assert ours.n_iter_ == 1


class TestSparse:
    @pytest.fixture
    def rows(self):
        return sparse.random(60, 40, 0.1, "csr", np.float64, np.random.default_rng(0)), np.arange(60) % 3

    def test_rows_are_the_dense_ones(self, rows):
        matrix = rows[0].astype(np.float32)
        held = SparseRows.of(matrix)
        assert held.shape == matrix.shape
        assert np.diff(matrix.indptr).max() == 9
        assert held.columns.shape == (60, 16)
        index = np.array([5, 0, 59, 5])
        np.testing.assert_array_equal(held[index], matrix.toarray()[index])

    def test_entries_that_stand_twice_add_up(self):
        matrix = sparse.csr_matrix((np.ones(2, np.float32), [1, 1], [0, 2]), (1, 3))
        np.testing.assert_array_equal(SparseRows.of(matrix)[np.array([0])], [[0, 2, 0]])

    @pytest.mark.parametrize("preprocessing", ["center", "standardize", None])
    def test_training_is_that_of_dense_features(self, rows, preprocessing):
        matrix, labels = rows
        options = {"epochs": 3, "batch_size": 16, "optimizer": Adam(0.1), "preprocessing": preprocessing}
        one = LinearClassifier(**options).fit(matrix, labels)
        other = LinearClassifier(**options).fit(matrix.toarray(), labels)
        # Moments come from another routine: they agree to float64's digits, the steps to float32's.
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(one.predict(matrix), one.predict(matrix.toarray()))

    def test_weights_count_as_in_dense_features(self, rows):
        matrix, labels = rows
        weights = np.random.default_rng(1).uniform(0.1, 3, 60)
        options = {"epochs": 3, "batch_size": 16, "optimizer": Adam(0.1), "preprocessing": "standardize"}
        one, other, alike = (
            LinearClassifier(**options).fit(x, labels, sample_weight=w)
            for x, w in ((matrix, weights), (matrix.toarray(), weights), (matrix, None))
        )
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-4, atol=1e-5)
        assert not np.allclose(one.coef_, alike.coef_, rtol=1e-2)

    def test_images_cannot_be_sparse(self, rows):
        with pytest.raises(tw.UsageError, match="sparse"):
            LinearClassifier(input_shape=(5, 8, 1)).fit(*rows)


class TestInScikitLearn:
    def test_numbers_inside_parts_are_searched(self):
        search = GridSearchCV(
            LinearClassifier(**{**QUICK, "penalty": L2(1.0)}),
            {"penalty__strength": [1e-4, 10.0], "optimizer__learning_rate__value": [0.01, 0.1]},
            cv=2,
        ).fit(X, NAMES)
        assert search.best_params_ == {"penalty__strength": 1e-4, "optimizer__learning_rate__value": 0.1}

    def test_unknown_numbers_are_named(self):
        with pytest.raises(ValueError, match="L2 has no parameter 'rate'; it has strength"):
            LinearClassifier(penalty=L2(1.0)).set_params(penalty__rate=1)
        with pytest.raises(ValueError, match="Invalid parameter 'penaltie'"):
            LinearClassifier().set_params(penaltie__strength=1)

    def test_clones_keep_parts(self):
        one = LinearClassifier(penalty=L2(0.5), optimizer=Adam(Cosine(0.1)))
        assert clone(one).get_params()["optimizer__learning_rate__peak"] == 0.1

    def test_pipelines_route_weights(self, weights):
        set_config(enable_metadata_routing=True)
        try:
            fitted = LinearClassifier(**QUICK).set_fit_request(sample_weight=True)
            line = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), fitted)
            routed = line.fit(X, Y, sample_weight=weights)[-1].coef_
        finally:
            set_config(enable_metadata_routing=False)
        alone = LinearClassifier(**QUICK).fit(StandardScaler().fit_transform(X), Y, sample_weight=weights)
        np.testing.assert_array_equal(routed, alone.coef_)

    def test_scores_by_cross_validation(self):
        assert cross_val_score(DenseClassifier((8,), optimizer=Adam(0.02)), X, NAMES, cv=2).mean() > 0.9

    @pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
    def test_frames_bring_names(self, frame):
        table = frame({f"column {i}": X[:, i] for i in range(4)})
        ours = LinearClassifier(**QUICK).fit(table, NAMES)
        assert ours.feature_names_in_.tolist() == [f"column {i}" for i in range(4)]
        assert ours.model_.feature_names == tuple(f"column {i}" for i in range(4))
        np.testing.assert_array_equal(ours.predict(table), LinearClassifier(**QUICK).fit(X, NAMES).predict(X))

    def test_the_page_shows_what_was_fitted_and_escapes_it(self):
        ours = PathClassifier(C=1.0).fit(X, NAMES)
        page = ours._repr_html_()
        assert "proved relative gap" in page
        assert "&lt;b&gt;virginica" in page
        assert "<b>virginica" not in page
        assert "proved relative gap" not in PathClassifier()._repr_html_()


class TestSweep:
    SPACE = tw.Recipe(
        penalty=L2(tw.log_uniform(1e-5, 1e-1)), optimizer=Adam(tw.log_uniform(1e-3, 1e-1)), batch_size=32, epochs=5
    )

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls):
        return SweepClassifier(cls.SPACE, trials=6).fit(X, NAMES)

    def test_results_are_those_of_the_run(self, fitted):
        results = fitted.cv_results_
        assert len(results["params"]) == 6
        assert set(results["params"][0]) == {"penalty__strength", "optimizer__learning_rate__value"}
        assert results["rank_test_score"][fitted.best_index_] == 1
        assert results["mean_test_score"][fitted.best_index_] == fitted.best_score_
        assert fitted.run_.test is None
        assert pd.DataFrame(results).shape[0] == 6

    def test_the_best_estimator_predicts_alike(self, fitted):
        best = fitted.best_estimator_
        assert type(best) is LinearClassifier
        np.testing.assert_array_equal(best.predict_proba(X), fitted.predict_proba(X))
        assert {name: best.get_params()[name] for name in fitted.best_params_} == fitted.best_params_
        assert best.coef_.shape == (3, 4)

    def test_its_page_tells_of_the_search(self, fitted):
        assert "6 completed" in fitted._repr_html_()

    def test_a_network_wins_as_one(self):
        space = tw.Recipe(model=tw.models.Dense(tw.choice((4,), (5,))), optimizer=Adam(0.1), epochs=2)
        found = SweepClassifier(space, trials=2).fit(X, Y)
        assert isinstance(found.best_estimator_, DenseClassifier)
        assert found.best_params_ == {"hidden": found.best_estimator_.hidden}
        found.best_estimator_.set_params(**found.best_params_)
        assert [one["model__hidden"] for one in found.cv_results_["params"]] == [(4,), (5,)]


class TestImages:
    PICTURES = np.random.default_rng(0).integers(0, 256, (40, 8 * 8 * 3)).astype(np.uint8)
    LABELS = np.arange(40) % 2

    def test_flat_rows_become_images(self):
        ours = LinearClassifier(features=ColorHistogram(), input_shape=(8, 8, 3), epochs=2)
        ours.fit(self.PICTURES, self.LABELS)
        assert ours.model_.feature_shape == (8, 8, 3)
        assert ours.predict(self.PICTURES).shape == (40,)
        whole = ours.predict(self.PICTURES.astype(float))
        np.testing.assert_array_equal(whole, ours.predict(self.PICTURES))
        with pytest.raises(ValueError, match="fitted on uint8: give whole numbers"):
            ours.predict(self.PICTURES / 255)

    def test_a_wrong_shape_is_refused(self):
        with pytest.raises(tw.UsageError, match="192 features"):
            LinearClassifier(input_shape=(8, 8, 1)).fit(self.PICTURES, self.LABELS)


class TestRefusals:
    def test_unfitted(self):
        with pytest.raises(NotFittedError):
            LinearClassifier().predict(X)

    def test_another_number_of_features(self):
        with pytest.raises(ValueError, match="expecting 4 features"):
            LinearClassifier(**QUICK).fit(X, Y).predict(X[:, :3])

    def test_one_class(self):
        with pytest.raises(ValueError, match="one class only"):
            LinearClassifier().fit(X, np.zeros(150))

    def test_weights_that_leave_nothing(self):
        with pytest.raises(ValueError, match="at least one non-zero"):
            LinearClassifier().fit(X, Y, sample_weight=np.zeros(150))

    def test_C_and_strengths(self):
        with pytest.raises(tw.UsageError, match="give one of them"):
            PathClassifier(C=1.0, strengths=[1e-3]).fit(X, Y)

    def test_a_share_that_is_none(self):
        with pytest.raises(tw.UsageError, match="validation_fraction is 2"):
            LinearClassifier(validation_fraction=2).fit(X, Y)

    def test_numbers_of_a_part_that_is_not_there(self):
        with pytest.raises(ValueError, match="give the part first"):
            LinearClassifier().set_params(penalty__strength=1.0)

    @pytest.mark.parametrize("value", [0.0, -1.0, np.inf, "1"])
    def test_a_wrong_C(self, value):
        with pytest.raises(tw.UsageError, match="C is"):
            PathClassifier(C=value).fit(X, Y)

    def test_C_of_an_elastic_net(self):
        with pytest.raises(tw.UsageError, match="l2 and l1 only"):
            PathClassifier(C=1.0, penalty="elastic_net").fit(X, Y)

    def test_no_folds_to_choose_by(self):
        with pytest.raises(tw.UsageError, match="folds is 0"):
            PathClassifier(strengths=3, folds=0).fit(X, Y)

    @pytest.mark.parametrize("class_weight", [{0: -1, 1: 1, 2: 1}, {0: 0, 1: 0, 2: 0}, {0: np.nan, 1: 1, 2: 1}])
    @pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
    def test_class_weights_that_are_none(self, class_weight, kind):
        for one in (LinearClassifier(class_weight=class_weight), PathClassifier(C=1.0, class_weight=class_weight)):
            with pytest.raises(ValueError, match="class_weight is"):
                one.fit(kind(X), Y)

    def test_a_spread_that_float32_loses(self):
        for one in (LinearClassifier(), PathClassifier(C=1.0)):
            with pytest.raises(tw.DataError, match=r"feature 0 of X .* subtract its mean"):
                one.fit(1.7e9 + 10 * X, Y)

    def test_a_failed_fit_leaves_nothing_mixed(self):
        ours = LinearClassifier(**QUICK).fit(X, Y)
        with pytest.raises(ValueError, match="one class only"):
            ours.fit(X[:, :3], np.zeros(150))
        with pytest.raises(NotFittedError):
            ours.predict(X)

    def test_numbers_beyond_float32(self):
        with pytest.raises(tw.DataError, match="beyond the range of float32"):
            LinearClassifier().fit(X * 1e300, Y)


def test_a_missed_bound_is_a_warning():
    with pytest.warns(
        ConvergenceWarning, match=r"ended as 'iteration limit' .* above the minimum, and 1e-06 was asked"
    ):
        ours = PathClassifier(C=1.0, preprocessing=None, iterations=2).fit(X, Y)
    assert ours.status_ == "iteration limit"
    assert ours.bounds_[0] > 1e-6


def test_a_sparse_table_is_centred_not_standardised():
    found = PathClassifier(C=1.0).fit(sparse.csr_matrix(X), Y)
    assert found.model_.preprocessing.kind == "center"
    space = tw.Recipe(optimizer=Adam(0.1), epochs=1)
    assert SweepClassifier(space, trials=1).fit(sparse.csr_matrix(X), Y).model_.preprocessing.kind == "center"


def test_the_classifier_of_a_recipe():
    recipe = tw.Recipe(model=tw.models.Dense((3,), "tanh"), penalty=L2(0.5), optimizer=Adam(0.1), epochs=2, seed=3)
    made = of_recipe(recipe, preprocessing=None)
    assert isinstance(made, DenseClassifier)
    assert (made.activation, made.random_state, made.preprocessing) == ("tanh", 3, None)
    assert made.fit(X, Y).recipe_ == recipe
    with pytest.raises(tw.UsageError, match="of_recipe"):
        RecipeClassifier(recipe).fit(X, Y)


def test_a_model_file_of_an_estimator(tmp_path):
    ours = LinearClassifier(**QUICK).fit(X.astype(np.float32), NAMES)
    tw.artifacts.save_model(ours.model_, tmp_path / "model.safetensors")
    again = tw.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(X.astype(np.float32)), ours.predict(X))


def test_the_input_is_left_alone():
    x, w = X.copy(), np.ones(150)
    x.setflags(write=False)
    w.setflags(write=False)
    LinearClassifier(**QUICK).fit(x, Y, sample_weight=w).predict(x)
