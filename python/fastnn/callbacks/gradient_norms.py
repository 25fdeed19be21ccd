"""GradientNorms: how large the gradient is in each layer."""
from .. import ops
from ..autograd import GradientTape
from .callback import Callback


class GradientNorms(Callback):
    """After each epoch, the norm of the loss's gradient in the weights of every layer: tiny ones in the first layers are
    gradients that vanish, huge ones gradients that explode.

    They join the logs as `gradient_norm/<layer>`, so that `History`, `CSVLogger` and `TensorBoard` have them. The
    model runs as in inference: its state does not change, and dropout is off.

    Args:
        x: input of the model, one batch.
        y: labels, or None for a model with losses of its own.
        sample_weight: weights of the samples, or None.

    Example:
        model.fit(x, y, epochs=5, callbacks=[keras.callbacks.GradientNorms(x[:64], y[:64])])
    """

    def __init__(self, x, y=None, sample_weight=None):
        super().__init__()
        self.x, self.y, self.sample_weight = x, y, sample_weight

    def norms(self):
        """{path of a layer: the norm of the gradient in its trainable weights}."""
        model, squares = self.model, {}
        with GradientTape() as tape:
            y_pred = model(self.x, training=False)
            loss = model.compute_loss(self.x, self.y, y_pred, self.sample_weight, training=False)
        variables = model.trainable_variables
        for v, g in zip(variables, tape.gradient(loss, variables)):
            layer = v.path.rpartition("/")[0]
            square = 0.0 if g is None else float(ops.sum(ops.square(ops.convert_to_tensor(g))))
            squares[layer] = squares.get(layer, 0.0) + square
        return {layer: total**0.5 for layer, total in squares.items()}

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs.update({f"gradient_norm/{layer}": norm for layer, norm in self.norms().items()})
