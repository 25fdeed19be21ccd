"""Adversarial training: learn also from inputs moved to where the loss is larger."""
from .. import ops
from ..autograd import GradientTape
from ..models import Model
from ..tensor import as_tensor
from ..tree import flatten, map_structure, pack_sequence_as


def adversarial_examples(model, loss, x, y, epsilon=0.01, norm="infinity", steps=1):
    """Inputs near x at which the loss is larger.

    x' = x + epsilon * sign(gradient) for norm "infinity", x + epsilon * gradient / |gradient| of each sample for "l2";
    several steps each move by epsilon / steps.

    Args:
        model: Model or function of x.
        loss: function (y, prediction) -> tensor.
        x: array or tensor (or a structure of them); integers in it stay as they are.
        y: targets.
        epsilon: the distance.

    Returns:
        Tensors in the structure of x, through which no gradient flows.

    Raises:
        ValueError: the norm is another word, or steps is not positive.

    Source: Goodfellow et al. 2014; Madry et al. 2017.
    """
    if norm not in ("infinity", "l2"):
        raise ValueError(f"[adversarial_examples] norm must be 'infinity' or 'l2'. Received: norm={norm!r}")
    if steps < 1:
        raise ValueError(f"[adversarial_examples] steps must be at least 1. Received: steps={steps}")
    x = map_structure(as_tensor, x)
    for _ in range(steps):
        flat = [v.alias() for v in flatten(x)]
        moving = [i for i, v in enumerate(flat) if "float" in v.dtype]
        with GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([flat[i] for i in moving])
            value = ops.sum(loss(y, model(pack_sequence_as(x, flat))))
        for i, g in zip(moving, tape.gradient(value, [flat[i] for i in moving])):
            if g is None:
                continue
            if norm == "infinity":
                step = ops.sign(g)
            else:
                axes = tuple(range(1, g.ndim)) or None
                step = ops.divide(g, ops.add(ops.sqrt(ops.sum(ops.square(g), axes, keepdims=True)), 1e-12))
            flat[i] = ops.stop_gradient(ops.add(flat[i], ops.multiply(step, epsilon / steps)))
        x = pack_sequence_as(x, [ops.stop_gradient(v) for v in flat])
    return x


class AdversarialTraining(Model):
    """A model trained on its inputs and on adversarial ones: loss(x) + weight * loss(x').

    Compile and fit it like the model itself; the weights are the model's.

    Args:
        model: Model.
        weight: number, of the adversarial loss.
        epsilon, norm, steps: see `adversarial_examples`.
    """

    def __init__(self, model, weight=0.2, epsilon=0.01, norm="infinity", steps=1, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        self.weight, self.epsilon, self.norm, self.steps = weight, epsilon, norm, steps

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if not training or x is None:
            return loss
        plain = super().compute_loss

        def attack(y, prediction):
            return plain(x=None, y=y, y_pred=prediction, sample_weight=sample_weight, training=False)

        moved = adversarial_examples(lambda v: self.model(v, training=False), attack, x, y, self.epsilon, self.norm, self.steps)
        harder = plain(x=None, y=y, y_pred=self.model(moved, training=training), sample_weight=sample_weight, training=training)
        return ops.add(loss, ops.multiply(harder, self.weight))
