"""FusedOptimizer: clips, decays and updates all weights in one kernel call."""
from .. import _core
from ..tensor import as_tensor
from .base import Optimizer

# A subclass that changes one of these steps gets the step-by-step path of `Optimizer`.
_STEPS = ("update_step", "_backend_update_step", "_clip_gradients", "_apply_weight_decay", "assign", "assign_add",
          "assign_sub")  # fmt: skip


class FusedOptimizer(Optimizer):
    """Base of the optimizers that have a kernel, `_kernel(weights, gradients, rate, options)`.

    Float32 weights go to the kernel, which computes what `update_step` says; other weights, and subclasses
    that override a step, are updated one by one by `update_step`.
    """

    def build(self, variables):
        super().build(variables)
        steps = [(getattr(type(self), step), step) for step in _STEPS]
        self._one_call = all(step.__module__.startswith(__package__ + ".") for step, _ in steps) and all(
            v.dtype == "float32" for v in self._trainable_variables
        )
        self._decayed = [self._use_weight_decay(v) for v in self._trainable_variables]

    def _takes_sparse(self, grad):
        return self._one_call and not self.gradient_accumulation_steps and grad.ndim == 2 and grad.dtype == "float32"

    def _update(self, grads, variables):
        if not self._one_call:
            super()._update(grads, variables)
            return
        positions = [self._index[id(v)] for v in variables]
        row_slots = []
        if any(getattr(g, "is_indexed_slices", False) for g in grads):
            grads, row_slots = zip(*map(_parts, grads))
            grads, row_slots = list(grads), list(row_slots)
        else:
            grads = [as_tensor(g, "float32") for g in grads]
        options = {"row_slots": row_slots}
        if self.clipnorm or self.global_clipnorm:
            squares = _core.squared_norms(grads, row_slots)
            limit = self.clipnorm or self.global_clipnorm
            options["scale"] = _core.clip_scales(squares, limit, not self.clipnorm)
        elif self.clipvalue:
            options["clipvalue"] = self.clipvalue
        if self.weight_decay:
            options["weight_decay"] = self.weight_decay
            options["decay"] = [self._decayed[i] for i in positions]
        rate = as_tensor(self.learning_rate, "float32")
        self._kernel(positions, [v.mutable() for v in variables], grads, rate, options)


def _parts(grad):
    """Return the sums over the rows of a sparse gradient and which row has which; of a dense one itself and None."""
    if getattr(grad, "is_indexed_slices", False):
        row_slot, _, _, sums = grad.coalesce()
        return sums, row_slot
    return as_tensor(grad, "float32"), None


def storage(variables, positions):
    """Return the tensors of some variables for a kernel to overwrite; [] when there are none."""
    return [variables[i].mutable() for i in positions] if variables else []
