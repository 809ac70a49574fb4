"""A path's certified optimum as scikit-learn's LogisticRegression."""

from __future__ import annotations

from typing import Any

from thalweg.elsewhere.script import block, literal, preprocessing_function
from thalweg.elsewhere.setting import number, refuse
from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.penalties import L1, L2, ElasticNet

__all__ = ["logistic_regression"]


def logistic_regression(
    loss: Any,
    penalty: Any,
    *,
    examples: int,
    classes: tuple[str, ...],
    preprocessing: str = "none",
    uint8: bool = False,
    class_weight: str = "none",
    tolerance: float = 1e-8,
) -> str:
    """Return a script that fits the same optimum by scikit-learn.

    scikit-learn minimises C Σ L + ½(1 − ρ)‖w‖² + ρ‖w‖₁ over N examples, ρ = l1_ratio;
    ours is the mean of L plus strength × R. So C = 1/(2 strength N) for L2, 1/(strength N)
    for L1, and ρ = 1/(1 + 2β), C = ρ/(strength N) for the elastic net.

    For two classes scikit-learn has one row w = w₁ − w₀ where the softmax has two. At
    the optimum w₁ = −w₀, so w₀² + w₁² = ½w² while |w₀| + |w₁| = |w|: C = 1/(strength N)
    for L2 and for L1, ρ = 1/(1 + β) for the elastic net.

    Raises a UsageError for the hinge (scikit-learn has no Weston-Watkins hinge), for
    class weights other than "none" and "balanced", and for strength 0.
    """
    if not isinstance(loss, Softmax) or loss.smoothing:
        raise refuse(f"the loss {type(loss).__name__}", "scikit-learn's LogisticRegression is the softmax's")
    strength = getattr(penalty, "strength", 0)
    if float(strength) == 0:
        raise refuse("strength 0", "scikit-learn's C would be infinite")
    if class_weight not in ("none", "balanced"):
        raise refuse(
            f"the class weights {class_weight!r}",
            "our mean divides by their sum, which only the data tells: give LogisticRegression(class_weight=...) and "
            "divide C by their mean over the examples",
        )
    share = 1 if len(classes) == 2 else 2
    scale = f"{number(strength)} * EXAMPLES"
    match penalty:
        case L2():
            c, solver = f"1 / ({scale})" if share == 1 else f"1 / (2 * {scale})", 'solver="lbfgs"'
        case L1():
            c, solver = f"1 / ({scale})", 'l1_ratio=1.0, solver="saga"'
        case ElasticNet():
            ratio = f"1 / (1 + {share} * {number(penalty.beta)})"
            c, solver = f"{ratio} / ({scale})", f'l1_ratio={ratio}, solver="saga"'
        case _:
            raise UsageError(f"penalty is {penalty!r}; only L2, L1 and ElasticNet can be written for scikit-learn")
    script = block(
        '''
        """A certified optimum of a thalweg path, by scikit-learn (1.8 or later)."""

        import sys

        import numpy as np
        from sklearn.linear_model import LogisticRegression

        CLASSES = «classes»
        EXAMPLES = «examples»


        «preprocessing»


        def make_model():
            """C for a mean over EXAMPLES examples, and weights of class rows that are penalised without ½."""
            return LogisticRegression(C=«c», «solver», «weight»tol=«tolerance», max_iter=100_000)


        if __name__ == "__main__":  # DATA.npz: X_train, y_train, X_test, y_test; labels are places in CLASSES
            if len(sys.argv) != 2:
                sys.exit(f"usage: python {sys.argv[0]} DATA.npz")
            with np.load(sys.argv[1]) as file:
                data = dict(file)
            if len(data["X_train"]) != EXAMPLES:
                sys.exit(f"C is that of {EXAMPLES} examples, and these are {len(data['X_train'])}: set EXAMPLES")
            prepare = fit_preprocessing(data["X_train"])
            x, x_test = (prepare(data[name]).reshape(len(data[name]), -1) for name in ("X_train", "X_test"))
            model = make_model().fit(x, data["y_train"])
            print("test accuracy", model.score(x_test, data["y_test"]))
        ''',
        c=c,
        solver=solver,
        classes=literal(classes),
        examples=str(examples),
        preprocessing=preprocessing_function(preprocessing, uint8=uint8),
        weight='class_weight="balanced", ' if class_weight == "balanced" else "",
        tolerance=number(tolerance),
    )
    return script + "\n"
