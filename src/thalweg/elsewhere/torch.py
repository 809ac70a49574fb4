"""A recipe as a script for PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.elsewhere.script import augment_function, block, constants, layout, main_lines, shared_functions
from thalweg.elsewhere.setting import Setting, number
from thalweg.elsewhere.torch_models import model_functions
from thalweg.elsewhere.updates import update_functions
from thalweg.losses import Hinge
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp
from thalweg.penalties import L2
from thalweg.schedules import Constant

__all__ = ["torch_script"]


def torch_script(setting: Setting) -> str:
    """Return the script."""
    imports = "import math\nimport sys\n\nimport numpy as np\nimport torch\nfrom torch import nn"
    device = '\nDEVICE = "cuda" if torch.cuda.is_available() else "cpu"'
    functions = [
        *shared_functions(setting),
        augment_function(setting.recipe.augmentation),
        *model_functions(setting),
        _loss(setting),
        *_optimizer(setting),
        _train(setting),
        _predict(),
    ]
    return layout(_TITLE, imports, constants(setting) + device, functions, main_lines())


_TITLE = """A classifier by PyTorch: the recipe of a thalweg run.

The batches come in the same order as there; first weights, and what else is random, are PyTorch's own draws.
"""


def _loss(setting: Setting) -> str:
    loss = setting.recipe.loss
    if isinstance(loss, Hinge):
        return block(
            '''
            def data_loss(scores, labels):
                """Multiclass hinge (Weston & Watkins): the sum of max(0, s_j - s_y + 1) over the wrong classes j."""
                own = scores.gather(1, labels[:, None])
                return (torch.relu(scores - own + 1).sum(dim=1) - 1).mean()  # the class itself adds 1
            '''
        )
    smoothing = f", label_smoothing={number(loss.smoothing)}" if loss.smoothing is not None else ""
    return block(
        '''
        def data_loss(scores, labels):
            """The cross-entropy of the softmax, a mean over examples."""
            return nn.functional.cross_entropy(scores, labels«smoothing»)
        ''',
        smoothing=smoothing,
    )


def _optimizer(setting: Setting) -> list[str]:
    split = block(
        '''
        def weights_of(model):
            """What is penalised and decayed: matrices and kernels, no biases, nothing of normalisation."""
            return [p for p in model.parameters() if p.ndim > 1]
        '''
    )
    arguments = torch_class(setting)
    penalised = split if isinstance(setting.recipe.penalty, L2) else ""
    if arguments is None:
        return [penalised, *update_functions(setting, "torch"), _RULE, _MAKE_RULE]
    if setting.decays is None or setting.recipe.optimizer.rules.decays_biases:
        return [penalised, block(_MAKE_PLAIN, optimizer=arguments)]
    return [split, block(_MAKE_GROUPS, optimizer=arguments)]


_MAKE_PLAIN = """
    def make_optimizer(model):
        return torch.optim.«optimizer»
"""
_MAKE_GROUPS = '''
    def make_optimizer(model):
        """Weight decay spares biases and normalisation."""
        others = [p for p in model.parameters() if p.ndim <= 1]
        parameters = [{"params": weights_of(model)}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.«optimizer»
'''
_MAKE_RULE = block(
    """
    def make_optimizer(model):
        return Rule(model.parameters())
    """
)
_RULE = block(
    '''
    class Rule(torch.optim.Optimizer):
        """The update above for every parameter: torch.optim has no class that gives these numbers."""

        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.0})
            self.steps = 0

        @torch.no_grad()
        def step(self):
            self.steps += 1
            for group in self.param_groups:
                for p in group["params"]:
                    buffers = self.state[p] or start(p)
                    x, self.state[p] = update(p, p.grad, buffers, group["lr"], self.steps, p.ndim > 1)
                    p.copy_(x)
    '''
)


def torch_class(setting: Setting) -> str | None:
    """Return the call of the class in torch.optim that gives the same numbers, or None where none does."""
    optimizer = setting.recipe.optimizer
    rules = optimizer.rules
    decoupled = setting.decays is not None and rules.decay == "decoupled"
    if setting.proximal or rules.epsilon != "outside" or (decoupled and not isinstance(optimizer, AdamW)):
        return None
    found = _CLASSES[type(optimizer)](setting)
    if found is None:
        return None
    name, arguments = found
    parameters = "model.parameters()" if setting.decays is None or rules.decays_biases else "parameters"
    decay = _decay(setting)
    return f"{name}({', '.join([parameters, 'lr=rate(0)', *arguments, *decay])})"


def _decay(setting: Setting) -> list[str]:
    optimizer, decay = setting.recipe.optimizer, setting.decays
    if decay is None:
        return ["weight_decay=0.0"] if isinstance(optimizer, AdamW) else []  # PyTorch's default is 1e-2
    if getattr(optimizer, "decay_scaling", "rate") == "multiplier":
        # The class multiplies by the rate: divided by its base, what is left is the schedule's multiplier.
        return [f"weight_decay={number(decay)} / {number(optimizer.learning_rate.base)}"]
    return [f"weight_decay={number(decay)}"]


def _sgd(setting: Setting) -> tuple[str, list[str]] | None:
    optimizer = setting.recipe.optimizer
    if optimizer.momentum is None:
        return "SGD", []
    steady = type(optimizer.learning_rate) is Constant  # then the place of the rate makes no difference
    if optimizer.form != "outside" and not (steady and optimizer.dampening is None):
        return None
    arguments = [f"momentum={number(optimizer.momentum)}"]
    if optimizer.nesterov:
        if float(optimizer.momentum) == 0:
            return None  # PyTorch refuses it
        arguments.append("nesterov=True")
    if optimizer.dampening is not None:
        if optimizer.rules.dampens_first:
            return None
        arguments.append(f"dampening={number(optimizer.dampening)}")
    return "SGD", arguments


def _adagrad(setting: Setting) -> tuple[str, list[str]]:
    optimizer = setting.recipe.optimizer
    first = f"initial_accumulator_value={number(optimizer.initial_accumulator)}"
    return "Adagrad", [first, f"eps={number(optimizer.epsilon)}"]


def _rmsprop(setting: Setting) -> tuple[str, list[str]] | None:
    optimizer = setting.recipe.optimizer
    arguments = [f"alpha={number(optimizer.decay)}", f"eps={number(optimizer.epsilon)}"]
    if optimizer.momentum is not None:
        if optimizer.rules.rate == "inside":
            return None
        arguments.append(f"momentum={number(optimizer.momentum)}")
    if optimizer.centered:
        arguments.append("centered=True")
    return "RMSprop", arguments


def _adam(setting: Setting) -> tuple[str, list[str]] | None:
    optimizer = setting.recipe.optimizer
    if not optimizer.bias_correction:
        return None
    betas = f"betas=({number(optimizer.beta1)}, {number(optimizer.beta2)})"
    return type(optimizer).__name__, [betas, f"eps={number(optimizer.epsilon)}"]


def _lion(setting: Setting) -> None:
    """torch.optim has none."""


_CLASSES: dict[Any, Callable[[Setting], tuple[str, list[str]] | None]] = {
    SGD: _sgd,
    AdaGrad: _adagrad,
    RMSProp: _rmsprop,
    Adam: _adam,
    AdamW: _adam,
    Lion: _lion,
}


def _train(setting: Setting) -> str:
    recipe = setting.recipe
    augments = bool(augment_function(recipe.augmentation))
    clip = ""
    if recipe.clip is not None:
        clip = block(
            """
            norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
            for p in model.parameters():
                p.grad *= min(1.0, «clip» / max(norm, 1e-30))
            """,
            clip=number(recipe.clip),
        )
    penalty = ""
    if isinstance(recipe.penalty, L2):
        strength = number(recipe.penalty.strength)
        penalty = f"loss = loss + {strength} * sum((w**2).sum() for w in weights_of(model))"
    ends = ("", "", "")
    if recipe.averaging is not None:
        ends = _averaging(number(recipe.averaging.decay))
    begin, each, end = ends
    return block(
        '''
        def train(x, y, model=None):
            """Train on features x (EXAMPLES, *SHAPE) and labels y; return the model and what prepares its input."""
            if x.shape != (EXAMPLES, *SHAPE):
                raise ValueError(f"x is {x.shape}; this recipe was made for {(EXAMPLES, *SHAPE)}: set both above")
            torch.manual_seed(SEED)
            «generator»
            prepare = fit_preprocessing(x)
            model = (model or make_model()).to(DEVICE).train()
            optimizer = make_optimizer(model)
            «begin»
            for step, rows in enumerate(batches()):
                features = «features»
                labels = torch.as_tensor(y[rows], dtype=torch.int64, device=DEVICE)
                «count»
                loss = data_loss(«scores»)
                «penalty»
                optimizer.zero_grad()
                loss.backward()
                «clip»
                for group in optimizer.param_groups:
                    group["lr"] = rate(step)
                optimizer.step()
                «each»
            «end»
            return model, prepare
        ''',
        generator="generator = np.random.default_rng(SEED)" if augments else "",
        features="augment(prepare(x[rows]), generator)" if augments else "prepare(x[rows])",
        count=_COUNT if setting.fills else "",
        scores=(
            "model(torch.as_tensor(features, device=DEVICE))[:count], labels[:count]"
            if setting.fills
            else "model(torch.as_tensor(features, device=DEVICE)), labels"
        ),
        penalty=penalty,
        clip=clip,
        begin=begin,
        each=each,
        end=end,
    )


_COUNT = (
    "count = min(BATCH, EXAMPLES - step % PER_EPOCH * BATCH)  # what fills a batch up counts in normalisation alone"
)


def _averaging(decay: str) -> tuple[str, str, str]:
    """The leaky mean of weights and running statistics: before the loop, in it, and after it."""
    begin = "tensors = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}\n"
    begin += "average = {k: torch.zeros_like(v) for k, v in tensors.items()}"
    each = f"for k, v in tensors.items():\n    average[k] += (1 - {decay}) * (v - average[k])"
    end = f"for k, v in tensors.items():\n    v.copy_(average[k] / (1 - {decay} ** (step + 1)))"
    return begin, each, end


def _predict() -> str:
    return block(
        '''
        @torch.no_grad()
        def predict(model, features):
            """Return the labels of prepared features."""
            return model.eval()(torch.as_tensor(features, device=DEVICE)).argmax(dim=1).cpu().numpy()
        '''
    )
