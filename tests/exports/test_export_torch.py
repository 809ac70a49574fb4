"""PyTorch: the written code, run as it stands, gives the model's scores from raw features."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from export_cases import ACTIVATIONS, HOSTILE, NETWORKS, SHAPE, close, drawn, examples
from safetensors import safe_open

import thalweg as tw
from thalweg.artifacts import export
from thalweg.errors import UsageError
from thalweg.features import HOG
from thalweg.models import Convolutional, Dense, Linear


def executed(model: tw.FittedModel, folder: Path) -> ModuleType:
    """Write the folder and import its code."""
    pytest.importorskip("torch")
    written = export(model, folder, to="torch")
    assert written.files == {path.name: path.stat().st_size for path in folder.iterdir()}
    spec = importlib.util.spec_from_file_location(f"exported_{folder.name}", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def agrees(model: tw.FittedModel, x: np.ndarray, folder: Path) -> Any:
    module = executed(model, folder)
    import torch

    network, given = module.load(), torch.from_numpy(x)
    assert not network.training
    with torch.inference_mode():
        close(network(given).numpy(), model.scores(x))
        if isinstance(model.recipe.loss, tw.losses.Softmax):
            np.testing.assert_allclose(network.probabilities(given).numpy(), model.probabilities(x), atol=1e-5)
        else:
            assert not hasattr(network, "probabilities")
    assert network.predict(given) == model.predict(x).tolist()
    assert len(set(network.predict(given))) > 1
    assert model.classes == module.CLASSES
    return network


@pytest.mark.parametrize("preprocessing", ["none", "scale", "standardize"])
@pytest.mark.parametrize("shape", [(5,), (4, 6, 3)])
def test_linear_models(tmp_path: Path, shape: tuple[int, ...], preprocessing: str) -> None:
    kind = Linear(bias=preprocessing != "none")
    model = drawn(kind, shape, loss=tw.losses.Hinge(), preprocessing=preprocessing)
    agrees(model, examples(shape, seed=1), tmp_path / "out")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_models(tmp_path: Path, activation: str) -> None:
    agrees(drawn(ACTIVATIONS[activation], (5,)), examples((5,), seed=1), tmp_path / "out")


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutional_models(tmp_path: Path, name: str) -> None:
    agrees(drawn(NETWORKS[name], SHAPE), examples(SHAPE, seed=1), tmp_path / "out")


def test_it_trains_on_as_the_model_would(tmp_path: Path) -> None:
    """One pass in training mode moves the running statistics as ours does: the same momentum and epsilon, in place."""
    kind = Dense((6,), batch_norm=True, momentum=0.3)
    model = drawn(kind, (5,))
    x = examples((5,), seed=1)
    network = agrees(model, x, tmp_path / "out")
    import torch

    scores = network.train()(torch.from_numpy(x))
    expected, after = kind.apply(
        model.params, model.model_state, model.preprocessing.transform(x), key=None, training=True
    )
    close(scores.detach().numpy(), expected)
    norm = next(layer for layer in network.network if isinstance(layer, torch.nn.BatchNorm1d))
    close(norm.running_mean.numpy(), after["layer_1"]["mean"])
    close(norm.running_var.numpy(), after["layer_1"]["variance"])
    scores.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_block_is_dropped_in_training_only(tmp_path: Path) -> None:
    """p_1 of two blocks is 1 − ½(1 − 0.4) = 0.7, p_2 is 0.4; in training each is there as a whole or not at all."""
    kind = Convolutional(width=2, blocks=(2,), stochastic_depth=0.4, batch_norm=False)
    module = executed(drawn(kind, SHAPE), tmp_path / "out")
    import torch

    blocks = [layer for layer in module.load().network if isinstance(layer, module.Residual)]
    assert [block.survival for block in blocks] == pytest.approx([0.7, 0.4])
    block, x = blocks[1].train(), torch.rand(1, 2, 5, 5)
    whole, none = torch.relu(x + block.layers(x)), torch.relu(x)
    torch.manual_seed(0)
    outputs = [block(x) for _ in range(200)]
    kept = [torch.equal(one, whole) for one in outputs]
    assert all(stays or torch.equal(one, none) for stays, one in zip(kept, outputs, strict=True))
    assert 50 < sum(kept) < 110  # 80 expected, deviation 7


def test_text_from_the_data_stays_text(tmp_path: Path) -> None:
    names = ("length", '"""', "höhe\n", "x\\", "'")
    model = drawn(Linear(), (5,), classes=HOSTILE, names=names)
    export(model, tmp_path / "out", to="torch")
    code = (tmp_path / "out" / "model.py").read_text(encoding="utf-8")
    assert all(character.isprintable() or character == "\n" for character in code)
    literals = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert literals == {"CLASSES": HOSTILE, "FEATURES": names}
    # But for these literals the code is that of a model with harmless names.
    export(drawn(Linear(), (5,), classes=tuple("abcdef"), names=tuple("vwxyz")), tmp_path / "plain", to="torch")
    plain = (tmp_path / "plain" / "model.py").read_text(encoding="utf-8")
    for name in (*HOSTILE, *names):
        code = code.replace(f"    {name!r},\n", "", 1)
    for name in "abcdefvwxyz":
        plain = plain.replace(f"    {name!r},\n", "", 1)
    assert code == plain


def test_hostile_names_survive_execution(tmp_path: Path) -> None:
    module = executed(drawn(Linear(), (5,), classes=(*HOSTILE, "\udcff")), tmp_path / "out")
    assert (*HOSTILE, "\udcff") == module.CLASSES


def test_the_code_is_clean(tmp_path: Path) -> None:
    """It is to be read, and goes into other people's projects."""
    for name, kind in NETWORKS.items():
        export(drawn(kind, SHAPE, classes=("it's", "b", "c")), tmp_path / name, to="torch")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", "--select=E,F,W,I,B,UP,SIM,RET"]
    found = subprocess.run([*ruff, "--no-cache", str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_weights_describe_themselves(tmp_path: Path) -> None:
    model = drawn(NETWORKS["max"], SHAPE, classes=HOSTILE[:3])
    export(model, tmp_path / "out", to="torch")
    with safe_open(tmp_path / "out" / "weights.safetensors", framework="numpy") as file:
        about, names = file.metadata(), set(file.keys())
        sizes = {name: file.get_tensor(name).size for name in names}
    assert about["format"] == "pt"
    assert tuple(json.loads(about["classes"])) == HOSTILE[:3]
    assert json.loads(about["recipe"])["model"]["kind"] == "convolutional"
    ours = sum(leaf.size for leaf in jax.tree.leaves((model.params, model.model_state)))
    counters = sum(name.endswith("num_batches_tracked") for name in names)
    preprocessing = model.preprocessing.shift.size + model.preprocessing.scale.size
    assert sum(sizes.values()) == ours + counters + preprocessing


def test_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"HOG in the pixels' place.*onnx"):
        export(drawn(Linear(), (4, 4, 1), features=HOG(cell=4, block=1)), tmp_path / "out", to="torch")
    assert not list(tmp_path.iterdir())
