"""The losses and metrics given to ``compile``, matched to the model's outputs.

Everything is kept flat: one entry per output, in the model's order. y_true and sample weights are
flattened by name (dicts) or by position; an output without a loss may go without a y_true.
"""

from .. import losses as losses_module
from .. import metrics as metrics_module
from .. import ops
from ..tree import flatten, flatten_with_path, is_nested


def output_names_of(y_pred, names):
    """The name of every output, None where it has none. ``names``: the model's, or None."""
    if _is_deep(y_pred):
        # Outputs inside outputs are named by their path, as Keras does.
        return ["/".join(str(key) for key in path) for path, _ in flatten_with_path(y_pred)]
    if isinstance(y_pred, dict):
        keys = list(y_pred)
        if names and set(names) == set(keys):
            return list(names)
        return sorted(keys)
    n = len(flatten(y_pred))
    return list(names) if names and len(names) == n else [None] * n


def _is_deep(nest):
    """Whether a nest holds nests."""
    values = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, (list, tuple)) else ()
    return any(is_nested(v) for v in values)


def flatten_outputs(nest, names, what, required=None):
    """The leaves of y_true, y_pred or sample_weight in the order of the outputs.

    Args:
        nest: a leaf, list, tuple or dict.
        names: of the outputs.
        what: the argument's name, for errors.
        required: which outputs must have a leaf; by position, None stands for the others.
    """
    n = len(names)
    if isinstance(nest, dict) and not _is_deep(nest):
        if n == 1 and len(nest) == 1:
            return list(nest.values())
        unknown = [k for k in nest if k not in names]
        if unknown:
            raise ValueError(f"[compile] {what} must have the names of the outputs {names}. Received: {sorted(nest)}")
        leaves = [nest.get(k) for k in names]
    else:
        leaves = flatten(nest)
    if len(leaves) == n:
        return leaves
    if required is not None and len(leaves) == sum(required):
        given = iter(leaves)
        return [next(given) if r else None for r in required]
    hint = ": y_true and y_pred have different structures" if what == "y" else ""
    raise ValueError(f"[compile] {what} must have one entry for each output ({n}: {names}){hint}. Received: {len(leaves)}")


def _at_path(nest, path):
    """The entry of a nest for the output at a path: None where it has none, a leaf for all that is below it."""
    for key in path:
        if isinstance(nest, dict):
            nest = nest.get(key)
        elif isinstance(key, str) and isinstance(nest, tuple):  # a named one
            nest = getattr(nest, key, None)
        elif isinstance(nest, (list, tuple)):
            nest = nest[key] if key < len(nest) else None
    return nest


def _check_paths(nest, outputs, what, path=()):
    """KeyError unless every entry of a nest stands where the outputs have one."""
    if not is_nested(nest) or not is_nested(outputs):
        return  # a list at an output is a list of losses or metrics for it
    for key, entry in nest.items() if isinstance(nest, dict) else enumerate(nest):
        inside = key in outputs if isinstance(outputs, dict) else isinstance(key, int) and key < len(outputs)
        if not inside or entry is not None and is_nested(entry) and not is_nested(outputs[key]) and isinstance(entry, dict):
            raise KeyError(f"[compile] the path {(*path, key)} of `{what}` can't be found in the model's output")
        _check_paths(entry, outputs[key], what, (*path, key))


def _per_output(value, names, what, outputs):
    """One entry of ``loss``, ``loss_weights`` or ``metrics`` for each of the outputs, a nest."""
    n = len(names)
    if _is_deep(value) and what.startswith("loss") and len(flatten(value)) == n:
        return flatten(value)
    if isinstance(value, dict) and _is_deep(outputs) and not all(key in names for key in value):
        _check_paths(value, outputs, what)
        return [_at_path(value, path) for path, _ in flatten_with_path(outputs)]
    if isinstance(value, dict):
        unknown = [k for k in value if k not in names]
        if unknown and not (n == 1 and len(value) == 1):
            if what == "loss" and isinstance(outputs, dict):
                raise KeyError(f"[compile] the path {(unknown[0],)} in the `loss` argument, can't be found in either the model's "
                               f"output or y: the keys of loss must be names of outputs {names}. Received: {sorted(map(str, value))}")
            start = "Expected keys of outputs" if what == "loss" else f"Invalid `{what}`"
            raise ValueError(f"[compile] {start}: the keys of {what} must be names of outputs {names}. "
                             f"Received: {sorted(map(str, value))}")
        return list(value.values()) if unknown else [value.get(k) for k in names]
    if isinstance(value, (list, tuple)):
        if len(value) != n:
            must = "must match the number of losses, with" if what == "loss_weights" else "must have"
            raise ValueError(f"[compile] {what} {must} one entry for each output ({n}: {names}). Received: {len(value)}")
        return list(value)
    return [value] * n


def _several_of_one(loss, y_pred):
    """Whether a list holds losses that all belong to the same output, or structure of outputs: its type is another."""
    return isinstance(loss, (list, tuple)) and not isinstance(y_pred, type(loss))


def _of_structures(loss, y_pred):
    """Whether a loss in a nest is to get several outputs at once, in their structure."""
    if not is_nested(loss):
        return loss is not None and is_nested(y_pred)
    if not is_nested(y_pred):
        return False
    if _several_of_one(loss, y_pred):
        return _is_deep(loss) and any(_of_structures(one, y_pred) for one in loss)
    if isinstance(loss, dict) != isinstance(y_pred, dict):
        return False
    pairs = loss.items() if isinstance(loss, dict) else enumerate(loss)
    return any(_of_structures(one, y_pred[key]) for key, one in pairs
               if (key in y_pred if isinstance(y_pred, dict) else key < len(y_pred)))


def _structured(loss, weight, y_pred, path=()):
    """Yields (path of an output or structure of outputs, loss, weight)."""
    if loss is None:
        return
    if not is_nested(loss):
        yield path, loss, weight
        return
    same = _several_of_one(loss, y_pred)
    pairs = list(loss.items() if isinstance(loss, dict) else enumerate(loss))
    for key, one in pairs:
        if not same and (key not in y_pred if isinstance(y_pred, dict) else not is_nested(y_pred) or key >= len(y_pred)):
            raise KeyError(f"[compile] the path {(*path, key)} of `loss` can't be found in the model's output")
        own = weight[key] if is_nested(weight) else weight
        yield from _structured(one, own, y_pred if same else y_pred[key], path if same else (*path, key))


def _is_binary_or_sparse(y_true, y_pred):
    """Keras's reading of "accuracy" and "crossentropy" from the shapes: (binary, sparse categorical)."""
    if y_pred.ndim < 1 or y_true is None:
        return False, False
    binary = y_pred.shape[-1] == 1
    if y_true.ndim < 1:
        return binary, False
    sparse = not binary and (
        y_true.ndim < y_pred.ndim or (y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 and y_pred.shape[-1] > 1))
    return binary, sparse


def _resolve_loss(identifier, y_true, y_pred):
    if identifier is None:
        return None
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        binary, sparse = _is_binary_or_sparse(y_true, y_pred)
        identifier = "binary_crossentropy" if binary else (
            "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy")
    loss = losses_module.get(identifier)
    if isinstance(loss, losses_module.Loss):
        return loss
    name = identifier if isinstance(identifier, str) else getattr(loss, "__name__", type(loss).__name__)
    return losses_module.LossFunctionWrapper(loss, name=name)


class CompiledLoss:
    """The total loss of a model and, with several outputs, a running mean of each output's loss."""

    def __init__(self, loss, loss_weights=None, output_names=None):
        if loss_weights is not None and not isinstance(loss_weights, (list, tuple, dict, float, int)):
            raise ValueError("[compile] loss_weights must be a number, list or dict. "
                             f"Received: loss_weights={loss_weights!r}")
        for identifier in flatten(loss):
            if isinstance(identifier, str) and identifier.lower() not in ("crossentropy", "ce"):
                losses_module.get(identifier)  # a wrong name is told here, not at the first batch
        self._user_loss, self._user_weights, self._names = loss, loss_weights, output_names
        self.built = False
        self._paths = None  # of structures of outputs, where losses get them whole
        self.metrics = []

    @property
    def variables(self):
        return [v for m in self.metrics for v in m.variables]

    def build(self, y_true, y_pred):
        """Match losses with outputs, once the structure of the outputs is known."""
        names = self._output_names = output_names_of(y_pred, self._names)
        loss = self._user_loss
        if _is_deep(loss) and _of_structures(loss, y_pred):
            self._build_structured(y_true, y_pred, names)
            return
        several = isinstance(loss, (list, tuple)) and len(names) == 1 and len(loss) != 1
        losses = [list(loss)] if several else _per_output(loss, names, "loss", y_pred)
        weights = [self._user_weights] if several else _per_output(self._user_weights, names, "loss_weights", y_pred)
        self._required = [entry is not None for entry in losses]
        y_preds = flatten_outputs(y_pred, names, "y_pred")
        y_trues = flatten_outputs(y_true, names, "y", self._required)
        self._entries = []  # (output, loss, weight)
        for i, (entry, weight) in enumerate(zip(losses, weights)):
            parts = entry if isinstance(entry, (list, tuple)) else [entry]
            part_weights = weight if isinstance(weight, (list, tuple)) else [weight] * len(parts)
            for part, w in zip(parts, part_weights):
                if part is not None:
                    self._entries.append((i, _resolve_loss(part, y_trues[i], y_preds[i]), w))
        if len(self._entries) > 1:
            for i, fn, _ in self._entries:
                self.metrics.append(metrics_module.Mean(name=f"{names[i] or fn.name}_loss"))
        self.built = True

    def _build_structured(self, y_true, y_pred, names):
        """`build` where a loss gets several outputs at once."""
        leaves = flatten_with_path(y_pred)
        given = self._names if self._names and len(self._names) == len(leaves) else [None] * len(leaves)
        shown = {path: str(path[-1]) if isinstance(path[-1], str) else name or str(path[-1])
                 for (path, _), name in zip(leaves, given)}
        self._entries, self._paths = [], []
        for i, (path, fn, weight) in enumerate(_structured(self._user_loss, self._user_weights, y_pred)):
            fn = _resolve_loss(fn, *(_at_path(y, path) for y in (y_true, y_pred)))
            self._paths.append(path)
            self._entries.append((i, fn, weight))
            # A structure is named by its path; all outputs together by their names.
            parts = [key if isinstance(key, str) else shown.get(path, str(key)) for key in path]
            self.metrics.append(metrics_module.Mean(name=("/".join(parts) or "_".join(shown.values())) + "_loss"))
        self.built = True

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The weighted sum of all losses, a scalar Tensor, or None if there are none."""
        if y_true is None:
            raise ValueError("[fit] y must be given: the loss compares it with the model's outputs. Received: y=None "
                             "(validation_data is a tuple (x, y))")
        if not self.built:
            self.build(y_true, y_pred)
        if self._paths is not None:
            y_trues, y_preds = [_at_path(y_true, p) for p in self._paths], [_at_path(y_pred, p) for p in self._paths]
        elif len(self._entries) == 1 and not is_nested(y_true) and not is_nested(y_pred):
            y_trues, y_preds = [y_true], [y_pred]
        else:
            y_preds = flatten_outputs(y_pred, self._output_names, "y_pred")
            y_trues = flatten_outputs(y_true, self._output_names, "y", self._required)
        weights = [None] * len(y_preds)
        if sample_weight is not None and self._paths is not None and is_nested(sample_weight):
            weights = [_at_path(sample_weight, p) for p in self._paths]
        elif sample_weight is not None:
            weights = flatten_outputs(sample_weight, self._output_names, "sample_weight", self._required) \
                if is_nested(sample_weight) else [sample_weight] * len(y_preds)
        total = None
        for k, (i, fn, weight) in enumerate(self._entries):
            value = fn(y_trues[i], y_preds[i], weights[i])
            if self.metrics:
                # Each output's own loss is reported before its weight.
                rows = y_preds[i] if self._paths is None else flatten(y_preds[i])[0]
                self.metrics[k].update_state(value, sample_weight=rows.shape[0])
            if weight is not None:
                value = ops.multiply(value, weight)
            total = value if total is None else ops.add(total, value)
        return total


def _resolve_metric(identifier, y_true, y_pred):
    if isinstance(identifier, metrics_module.Metric):
        return identifier
    lower = identifier.lower() if isinstance(identifier, str) else None
    if lower in ("accuracy", "acc"):
        binary, sparse = _is_binary_or_sparse(y_true, y_pred)
        metric = metrics_module.BinaryAccuracy(name=identifier) if binary else (
            metrics_module.SparseCategoricalAccuracy(name=identifier) if sparse
            else metrics_module.CategoricalAccuracy(name=identifier))
        return metric
    if lower in ("crossentropy", "ce"):
        binary, sparse = _is_binary_or_sparse(y_true, y_pred)
        return (metrics_module.BinaryCrossentropy if binary else metrics_module.SparseCategoricalCrossentropy
                if sparse else metrics_module.CategoricalCrossentropy)(name=identifier)
    metric = metrics_module.get(identifier)
    if isinstance(metric, metrics_module.Metric):
        if lower is not None:
            metric.name = identifier  # "mae" is reported as "mae"
        return metric
    name = identifier if isinstance(identifier, str) else getattr(metric, "__name__", type(metric).__name__)
    return metrics_module.MeanMetricWrapper(metric, name=name)


class CompiledMetrics:
    """The metrics of a model: ``metrics`` without sample weights, ``weighted_metrics`` with them."""

    name = "compile_metrics"

    def __init__(self, metrics, weighted_metrics=None, output_names=None):
        for what, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if value is not None and not isinstance(value, (list, tuple, dict)):
                raise ValueError(f"[compile] {what} must be a list, tuple or dict. Received: {what}={value!r}")
        self._user, self._user_weighted, self._names = metrics, weighted_metrics, output_names
        self.built = False
        self._entries = []  # (output, metric, weighted, reported name)

    @property
    def metrics(self):
        return [m for _, m, _, _ in self._entries]

    @property
    def variables(self):
        return [v for m in self.metrics for v in m.variables]

    def _lists(self, value, names, what, y_pred):
        """A list of metrics for each output."""
        if not value:
            return [[] for _ in names]
        if len(names) == 1:
            return [flatten(value)]
        entries = _per_output(value, names, what, y_pred)
        return [[] if e is None else list(e) if isinstance(e, (list, tuple)) else [e] for e in entries]

    def build(self, y_true, y_pred):
        names = self._output_names = output_names_of(y_pred, self._names)
        n = len(names)
        y_preds = flatten_outputs(y_pred, names, "y_pred")
        try:
            y_trues = flatten_outputs(y_true, names, "y")
        except ValueError:
            y_trues = [None] * n  # outputs without a loss have no y
        self._required = [t is not None for t in y_trues]
        shown = names
        if _is_deep(y_pred):  # reported under the names of the outputs, not under their paths
            shown = self._names if self._names and len(self._names) == n else [None] * n
        self._entries = []
        taken = {}
        for value, weighted in ((self._user, False), (self._user_weighted, True)):
            for i, wanted in enumerate(self._lists(value, names, "weighted_metrics" if weighted else "metrics", y_pred)):
                for identifier in wanted:
                    if identifier is None:
                        continue
                    metric = _resolve_metric(identifier, y_trues[i], y_preds[i])
                    prefix = f"{shown[i]}_" if n > 1 and shown[i] else ""
                    name = prefix + metric.name
                    if name in taken and weighted:
                        name = f"{prefix}weighted_{metric.name}"
                    if name in taken:
                        taken[name] += 1
                        name = f"{name}_{taken[name] - 1}"
                    else:
                        taken[name] = 1
                    self._entries.append((i, metric, weighted, name))
        self.built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        if not self.built:
            self.build(y_true, y_pred)
        if not self._entries:
            return
        y_preds = flatten_outputs(y_pred, self._output_names, "y_pred")
        y_trues = flatten_outputs(y_true, self._output_names, "y", self._required)
        weights = [None] * len(y_preds)
        if sample_weight is not None:
            weights = flatten_outputs(sample_weight, self._output_names, "sample_weight", self._required) \
                if is_nested(sample_weight) else [sample_weight] * len(y_preds)
        for i, metric, weighted, _ in self._entries:
            if y_trues[i] is None:
                continue
            if weighted:
                metric.update_state(y_trues[i], y_preds[i], weights[i])
            else:
                metric.update_state(y_trues[i], y_preds[i])

    def reset_state(self):
        for m in self.metrics:
            m.reset_state()

    def result(self):
        """{name: value} of every metric."""
        return {name: m.result() for _, m, _, name in self._entries}
