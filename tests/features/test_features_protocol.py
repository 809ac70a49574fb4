"""What all features share: blocks, progress, chains, equality, parsing, checks."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg.features.base as base
from thalweg.errors import UsageError
from thalweg.features import HOG, Chain, ColorHistogram, Features, Patches, parse_features
from thalweg.ranges import choice, integers

SMALL = (HOG(cell=4), ColorHistogram(grid=2), Patches(count=3, patch=3, samples=100, iterations=2))
BOTH = SMALL[0] + SMALL[2] + SMALL[1]


def images(count=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


class Thumbnail(Features):
    """One's own part, as in docs/features.md."""

    kind = "thumbnail"
    side: int = eqx.field(default=4, static=True)

    def size(self, shape):
        return self.side**2 * shape[2]

    def encode(self, images, state):
        b, h, w, c = images.shape
        tiles = images.reshape(b, self.side, h // self.side, self.side, w // self.side, c)
        return jnp.mean(tiles, axis=(2, 4)).reshape(b, -1)


@pytest.mark.parametrize("part", [*SMALL, BOTH, Thumbnail()], ids=lambda part: part.kind)
def test_blocks_of_any_size_give_the_same(part, monkeypatch):
    state = part.fit(images())
    whole = part.transform(images(), state)
    told = []
    monkeypatch.setattr(base, "_WORKING_BYTES", 3 * part.working_bytes((8, 8, 3)))
    found = part.transform(images(), state, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=1e-6)
    assert whole.shape == (7, part.size((8, 8, 3)))
    assert whole.dtype == np.float32


@pytest.mark.parametrize("part", [*SMALL, BOTH, Thumbnail()], ids=lambda part: part.kind)
def test_bytes_are_divided_by_255_and_floats_are_not(part):
    state = part.fit(images())
    from_bytes = part.transform(images(), state)
    for dtype in (np.float32, np.float64):
        np.testing.assert_allclose(part.transform((images() / 255).astype(dtype), state), from_bytes, atol=1e-4)


def test_no_images_give_no_rows():
    assert SMALL[0].transform(images(0), {}).shape == (0, SMALL[0].size((8, 8, 3)))


def test_what_progress_raises_ends_the_work():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SMALL[0].transform(images(), {}, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        SMALL[2].fit(images(), progress=stop)


def test_a_chain_sets_columns_side_by_side_and_marks_the_state_by_place():
    state = BOTH.fit(images())
    own = SMALL[2].fit(images())
    assert list(state) == ["1.mean", "1.whitening", "1.centroids"]
    assert {name: array.shape for name, array in state.items()} == BOTH.state_shapes((8, 8, 3))
    for name, array in own.items():
        np.testing.assert_array_equal(state[f"1.{name}"], array)
    columns = [SMALL[0].transform(images(), {}), SMALL[2].transform(images(), own), SMALL[1].transform(images(), {})]
    np.testing.assert_allclose(BOTH.transform(images(), state), np.concatenate(columns, axis=1), rtol=1e-5, atol=1e-5)


def test_chains_are_flat_and_ordered():
    a, b, c = SMALL
    assert a + b + c == a + (b + c) == Chain((a, b, c)) == Chain([a, b, c])
    assert (a + b).parts == (a, b)
    assert a + b != b + a
    assert repr(ColorHistogram(grid=2) + ColorHistogram(root=False)) == (
        "ColorHistogram(bins=(8, 4, 4), grid=2, root=True) + ColorHistogram(bins=(8, 4, 4), grid=4, root=False)"
    )
    with pytest.raises(TypeError):
        a + 3
    for bad in ((), (1,), a):
        with pytest.raises(UsageError, match="Chain: parts are"):
            Chain(bad)


def test_equal_parts_are_equal_and_hash_alike():
    pairs = [(HOG(), HOG(cell=8), HOG(cell=4)), (Patches(), Patches(seed=0), Patches(seed=1)),
             (HOG() + Patches(), HOG() + Patches(), HOG() + Patches(seed=1))]  # fmt: skip
    for one, same, other in pairs:
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert len({one, same, other}) == 2
    assert HOG() != ColorHistogram()


def test_equal_parts_share_one_compiled_program(compiled):
    for _ in range(3):
        HOG(cell=4, orientations=7).transform(images(), {})
    assert compiled.count("_encode") == 1


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("hog", HOG()),
        ("hog,color", HOG() + ColorHistogram()),
        (" Colour , patches", ColorHistogram() + Patches()),
        ("color_histogram", ColorHistogram()),
    ],
)
def test_parse(text, part):
    assert parse_features(text) == part


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("hogg", r"'hogg' is none of hog, color, patches \(did you mean 'hog'\?\)"),
        ("hog,", "'' is none of"),
        ("hog,colour,color", "names a part twice"),
    ],
)
def test_parse_refuses(text, match):
    with pytest.raises(UsageError, match=match):
        parse_features(text)


@pytest.mark.parametrize("part", [*SMALL, BOTH], ids=lambda part: part.kind)
def test_images_that_cannot_serve(part):
    for shape in ((64,), (8, 8), (2, 8, 8, 3), ()):
        with pytest.raises(UsageError, match="no images"):
            part.check(shape, np.uint8)
    for dtype in (np.int32, bool, np.complex64):
        with pytest.raises(UsageError, match="give uint8, or float32"):
            part.check((8, 8, 3), dtype)
    with pytest.raises(UsageError, match="no images"):
        part.fit(np.zeros((5, 64), np.float32))
    with pytest.raises(UsageError, match="give a NumPy array"):
        part.transform([[1.0]], {})


def test_a_state_that_does_not_fit():
    part, state = SMALL[2], SMALL[2].fit(images())
    for bad in ({}, {**state, "more": np.zeros(1)}, {**state, "mean": np.zeros(3)}, part.fit(images()[..., :1])):
        with pytest.raises(UsageError, match="give what fit returned"):
            part.transform(images(), bad)
    with pytest.raises(UsageError, match="need nothing"):
        SMALL[0].transform(images(), state)


@pytest.mark.parametrize("value", [choice(4, 8), integers(4, 8), None, "8", np.arange(1, 3)])
@pytest.mark.filterwarnings("ignore:A JAX array is being set as static")
def test_fields_are_not_searched(value):
    with pytest.raises(UsageError, match="give one whole number"):
        HOG(cell=value)
    if not isinstance(value, (str, type(None))):
        with pytest.raises(UsageError, match="features are not searched"):
            HOG(clip=value)
