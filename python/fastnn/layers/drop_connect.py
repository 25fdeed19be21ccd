"""Dense with connections dropped during training."""
from .. import ops, random
from .dense import Dense
from .dropout import _rate


class DropConnectDense(Dense):
    """Dense whose kernel entries are set to zero with probability `rate` during training, the others divided by
    1 - rate: DropConnect (Wan et al., 2013). One set of entries is drawn for each batch.

    Args:
        units: size of the last axis of the output.
        rate: number in [0, 1).
        seed: int; by default drawn.
        kwargs: the further arguments of Dense.

    Raises:
        ValueError: rate is not a number in [0, 1), or as for Dense.
    """

    def __init__(self, units, rate=0.5, seed=None, **kwargs):
        super().__init__(units, **kwargs)
        self.rate = _rate("DropConnectDense", rate, below_one=True)
        self.seed = seed
        if rate > 0:
            self.seed_generator = seed if isinstance(seed, random.SeedGenerator) else random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        if not training or self.rate == 0:
            return super().call(inputs)
        kernel, bias = self._kernel_and_bias()
        kernel = random.dropout(kernel, self.rate, seed=self.seed_generator)
        return self._activate(lambda fused: ops.dense(inputs, kernel, bias, fused))

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
