"""Low-rank adaptation: train a product of two thin matrices beside a kernel that stays as it is."""
from .. import initializers, ops


class LoRA:
    """Mix-in of the layers whose `kernel` can have a trained product added to it.

    A subclass names the kernel's attribute (`_lora_kernel`), calls `_set_lora` in its constructor and
    `_begin_lora` at the end of `build`, and reads the kernel through the attribute `kernel`.

    Attributes:
        lora_enabled: bool.
        lora_rank, lora_alpha: rank and scale (times the rank) of the product.
    """

    lora_enabled = False

    def _set_lora(self, lora_rank, lora_alpha):
        if lora_rank is not None:
            lora_rank = _rank(lora_rank, type(self).__name__)
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank

    def _begin_lora(self):
        if self.lora_rank:
            self.enable_lora(self.lora_rank, lora_alpha=self.lora_alpha)

    def _lora_shapes(self, shape, rank):
        """The shapes of the two factors of a kernel of `shape`."""
        return (*shape[:-1], rank), (rank, shape[-1])

    @property
    def kernel(self):
        """The kernel: the variable, or with LoRA its value with the trained product added."""
        if self.lora_enabled:
            product = ops.multiply(ops.matmul(self.lora_kernel_a, self.lora_kernel_b), self.lora_alpha / self.lora_rank)
            return ops.add(self._stored_kernel(), product)
        return self._kernel if self._dtype_policy.quantization_mode is None else self._stored_kernel()

    def _stored_kernel(self):
        """The kernel without the product."""
        return self._kernel

    def enable_lora(self, rank, lora_alpha=None, a_initializer="he_uniform", b_initializer="zeros"):
        """Freeze the kernel and train a product of two factors that is added to it.

        Args:
            rank: int, the size that the factors share.
            lora_alpha: number; the product is multiplied by lora_alpha / rank. The rank by default.
            a_initializer, b_initializer: Initializers of the factors.

        Raises:
            ValueError: the kernel has a constraint, is not made yet, or LoRA is enabled already.
        """
        kind = type(self).__name__
        if self.kernel_constraint:
            raise ValueError(f"[{kind}] Lora is incompatible with kernel constraints. In order to enable lora on this "
                             "layer, remove the `kernel_constraint` argument.")
        if not self.built and not self._building:
            raise ValueError(f"[{kind}] Cannot enable lora on a layer that isn't yet built.")
        if self.lora_enabled:
            raise ValueError(f"[{kind}] lora is already enabled. This can only be done once per layer.")
        if self.quantization_mode in ("gptq", "awq"):
            raise NotImplementedError(f"[{kind}] lora is not currently supported with {self.quantization_mode.upper()} "
                                      "quantization.")
        rank = _rank(rank, kind)
        shape_a, shape_b = self._lora_shapes(tuple(self._stored_kernel().shape), rank)
        locked, self._locked = self._locked, False
        self.lora_kernel_a = self.add_weight(shape_a, initializers.get(a_initializer), name="lora_kernel_a",
                                             regularizer=self.kernel_regularizer)
        self.lora_kernel_b = self.add_weight(shape_b, initializers.get(b_initializer), name="lora_kernel_b",
                                             regularizer=self.kernel_regularizer)
        self._kernel.trainable = False
        self._locked = locked
        self.lora_enabled = True
        self.lora_rank = rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else rank

    def save_own_variables(self, store):
        """The variables in their order, the product added to the kernel; its factors are not saved."""
        if not self.lora_enabled:
            super().save_own_variables(store)
            return
        for index, variable in enumerate(self._merged_variables()):
            store[str(index)] = ops.convert_to_numpy(self.kernel) if variable is self._kernel else variable

    def load_own_variables(self, store):
        if not self.lora_enabled:
            super().load_own_variables(store)
            return
        own = self._merged_variables()
        if len(store) != len(own):
            raise ValueError(f"[{self.name}] expects {len(own)} variables: {[v.name for v in own]}. Received: {len(store)}")
        for index, variable in enumerate(own):
            variable.assign(store[str(index)])
        for factor in (self.lora_kernel_a, self.lora_kernel_b):
            factor.assign(ops.zeros(factor.shape, factor.dtype))

    def _merged_variables(self):
        return [v for v in (self._kernel, self.bias) if v is not None]

    def _lora_config(self):
        return {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha} if self.lora_rank else {}


def _rank(rank, kind):
    if isinstance(rank, bool) or not hasattr(rank, "__index__") or rank < 1:
        raise ValueError(f"[{kind}] rank must be a positive integer. Received: rank={rank!r}")
    return rank.__index__()
