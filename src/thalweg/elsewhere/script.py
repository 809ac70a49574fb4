"""What the scripts for all frameworks share: constants, preprocessing, the order of the batches, and their layout."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from thalweg.augmentation import FlipCrop
from thalweg.elsewhere.schedules import rate_functions
from thalweg.elsewhere.setting import Setting, number

__all__ = [
    "augment_function", "block", "constants", "layout", "literal", "main_lines", "preprocessing_function",
    "shared_functions",
]  # fmt: skip

_WIDTH = 100


def layout(title: str, imports: str, constants: str, functions: Iterable[str], ending: str) -> str:
    """Return a script: its parts, apart by the usual blank lines."""
    head = f'"""{title}"""\n\n{imports}\n\n{constants}'
    return "\n\n\n".join([head, *(function for function in functions if function), ending]) + "\n"


def block(text: str, **parts: str) -> str:
    """Return a template without its indentation, each «name» in it replaced by a part.

    A part of several lines keeps the indentation of its place; a line that holds
    nothing but an empty part is left out.
    """
    lines = []
    for line in textwrap.dedent(text).strip("\n").split("\n"):
        alone = re.fullmatch(r"( *)«\w+»", line)
        indent = alone[1] if alone else ""

        # In one pass: what a part says, a class's name among it, is never taken for a place of the template.
        def put(place: re.Match[str], indent: str = indent) -> str:
            return parts[place[1]].replace("\n", f"\n{indent}")

        filled = re.sub(r"«(\w+)»", put, line)
        if filled.strip() or "«" not in line:
            lines.append(filled)
    return "\n".join(lines).replace(":\n\n        def ", ":\n        def ")


def constants(setting: Setting) -> str:
    """Return the script's constants. Class names come from data: they stand here as literals, and nowhere else."""
    recipe, epochs = setting.recipe, setting.epochs
    return block(
        """
        CLASSES = «classes»
        SHAPE = «shape»  # of one example
        EXAMPLES = «examples»  # to train on; the schedule's length follows from it
        BATCH, EPOCHS, SEED = «batch», «epochs», «seed»
        «trained»
        PER_EPOCH = math.ceil(EXAMPLES / BATCH)  # steps
        STEPS = EPOCHS * PER_EPOCH
        """,
        classes=literal(setting.classes),
        shape=repr(setting.shape),
        examples=str(setting.examples),
        batch="EXAMPLES" if setting.batch == setting.examples else str(setting.batch),
        epochs=str(recipe.epochs),
        seed=str(recipe.seed),
        trained=f"TRAINED = {epochs}  # epochs of them that are trained" if _cut(setting) else "",
    )


def _cut(setting: Setting) -> bool:
    return setting.epochs is not None and setting.epochs != setting.recipe.epochs


def literal(names: tuple[str, ...]) -> str:
    """Return class names as a Python list: whatever they hold, nothing of it is read as code."""
    line = f"[{', '.join(repr(name) for name in names)}]"
    if len(line) <= _WIDTH:
        return line
    rows = textwrap.wrap(", ".join(repr(name) for name in names), _WIDTH) if _plain(names) else None
    lines = rows or [f"{name!r}," for name in names]
    return "[\n" + "\n".join(f"    {one}" for one in lines) + "\n]"


def _plain(names: tuple[str, ...]) -> bool:
    """True where a line may break at any blank: no name has one."""
    return all(name.isascii() and name.isalnum() for name in names)


def shared_functions(setting: Setting) -> list[str]:
    """Return preprocessing, the order of the batches, and the learning rate."""
    return [
        preprocessing_function(setting.preprocessing, uint8=setting.uint8),
        _batches(setting),
        *rate_functions(setting.recipe.optimizer.learning_rate),
    ]


def preprocessing_function(kind: str, *, uint8: bool) -> str:
    """Return ``fit_preprocessing(x)``, by the formulas of `data.preprocessing`."""
    fits = {
        "none": "shift, scale = 0, 1  # none",
        "scale": f"shift, scale = 0, {'1 / 255' if uint8 else '1'}",
        "center": """
            x = x.astype(np.float64)
            shift, spread = x.mean(axis=0), np.sqrt(x.var(axis=0).mean())
            scale = 1 / spread if spread > 0 else 1
        """,
        "standardize": """
            x = x.astype(np.float64)
            shift, spread = x.mean(axis=0), x.std(axis=0)
            constant = spread <= 1e-7 * np.abs(shift)
            scale = np.where(constant, 0, 1 / np.where(constant, 1, spread))
        """,
    }
    return block(
        '''
        def fit_preprocessing(x):
            """Return the function that prepares features, fitted on training examples x."""
            «fit»
            shift, scale = np.float32(shift), np.float32(scale)
            return lambda features: (features.astype(np.float32) - shift) * scale
        ''',
        fit=block(fits[kind]),
    )


def _batches(setting: Setting) -> str:
    filled = "the last one filled up from the first" if setting.fills else "the last one as small as it falls"
    cut = "yield from (order[i : i + BATCH] for i in range(0, EXAMPLES, BATCH))"
    if setting.fills:
        cut = "yield from np.resize(order, (PER_EPOCH, BATCH))"
    return block(
        '''
        def batches():
            """Yield the rows of each step: every epoch all examples in a new order, «filled»."""
            for epoch in range(«epochs»):
                order = np.random.default_rng(np.random.SeedSequence([SEED, 3, epoch])).permutation(EXAMPLES)
                «cut»
        ''',
        filled=filled,
        epochs="TRAINED" if _cut(setting) else "EPOCHS",
        cut=cut,
    )


def augment_function(augmentation: FlipCrop | None) -> str:
    """Return ``augment(x, generator)`` for NumPy images, or nothing."""
    if augmentation is None or not (augmentation.flip or augmentation.crop):
        return ""
    flip = "if generator.random() < 0.5:\n    image = image[:, ::-1]" if augmentation.flip else ""
    told = " and ".join(
        ["mirrored with probability 1/2"] * bool(augmentation.flip)
        + [f"shifted by up to {augmentation.crop} pixels, zeros beyond the edge"] * bool(augmentation.crop)
    )
    return block(
        '''
        def augment(x, generator):
            """Images (B, height, width, channels), each «told»."""
            crop, (height, width, _) = «crop», SHAPE
            changed = np.empty_like(x)
            for i, image in enumerate(np.pad(x, ((0, 0), (crop, crop), (crop, crop), (0, 0)))):
                «flip»
                top, left = generator.integers(0, 2 * crop + 1, 2)
                changed[i] = image[top : top + height, left : left + width]
            return changed
        ''',
        told=told,
        crop=number(augmentation.crop),
        flip=flip,
    )


def main_lines() -> str:
    """Return the script's last lines, which run it on a file of arrays."""
    return block(
        """
        if __name__ == "__main__":  # DATA.npz: X_train, y_train, X_test, y_test; labels are places in CLASSES
            if len(sys.argv) != 2:
                sys.exit(f"usage: python {sys.argv[0]} DATA.npz")
            with np.load(sys.argv[1]) as file:
                data = dict(file)
            model, prepare = train(data["X_train"], data["y_train"])
            print("test accuracy", np.mean(predict(model, prepare(data["X_test"])) == data["y_test"]))
        """
    )
