"""FeatureSpace: the columns of a table, each with its own preprocessing, as vectors for a model."""
import numpy as np

from .. import ops, tree
from .._core import Tensor
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..symbolic import KerasTensor
from ..tensor import to_numpy
from ..utils.naming import auto_name
from .categories import CategoryEncoding, Discretization
from .hashing import HashedCrossing, Hashing
from .input_layer import Input
from .layer import Layer
from .lookup import IntegerLookup, StringLookup
from .small import Identity, Normalization, Rescaling
from .text_vectorization import TextVectorization
from .tf_graph import call_in_graph, in_graph


class Cross:
    """Columns whose combinations are categories of their own.

    Args:
        feature_names: names of columns.
        crossing_dim: int; bins that the combinations are hashed into.
        output_mode: "one_hot", or "int" for the bins' numbers.
    """

    def __init__(self, feature_names, crossing_dim, output_mode="one_hot"):
        if output_mode not in ("int", "one_hot"):
            raise ValueError("[FeatureSpace.cross] Invalid value for argument `output_mode`. Expected one of {'int', 'one_hot'}. "
                             f"Received: output_mode={output_mode!r}")
        self.feature_names, self.crossing_dim, self.output_mode = tuple(feature_names), crossing_dim, output_mode

    @property
    def name(self):
        return "_X_".join(self.feature_names)

    def get_config(self):
        return {"feature_names": self.feature_names, "crossing_dim": self.crossing_dim, "output_mode": self.output_mode}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Feature:
    """A column: its dtype, the layer that prepares it, and how its result goes on.

    Args:
        dtype: dtype name, or "string".
        preprocessor: Layer, or its config.
        output_mode: "one_hot", "int" or "float".
    """

    def __init__(self, dtype, preprocessor, output_mode):
        if output_mode not in ("int", "one_hot", "float"):
            raise ValueError("[FeatureSpace.feature] Invalid value for argument `output_mode`. Expected one of {'int', 'one_hot', "
                             f"'float'}}. Received: output_mode={output_mode!r}")
        self.dtype, self.output_mode = dtype, output_mode
        self.preprocessor = deserialize_keras_object(preprocessor) if isinstance(preprocessor, dict) else preprocessor

    def get_config(self):
        return {"dtype": self.dtype, "preprocessor": serialize_keras_object(self.preprocessor), "output_mode": self.output_mode}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


_CLASSES = {"Cross": Cross, "Feature": Feature}


class FeatureSpace(Layer):
    """Turns the columns of a table, a dict of arrays, into one array of features.

    Args:
        features: dict from the name of a column to "float", "float_normalized", "float_rescaled", "float_discretized",
            "integer_categorical", "string_categorical", "integer_hashed", "string_hashed", or what the methods of these names
            or `feature` return.
        output_mode: "concat" for one array (rows, features), "dict" for one for each column and cross.
        crosses: list of tuples of names, or of what `cross` returns.
        crossing_dim, hashing_dim, num_discretization_bins: int; bins of crosses, hashed and discretized columns.
        name: string.

    Input: dict of arrays or lists, (rows,) or (rows, 1), or single values.

    Raises:
        ValueError: arguments that do not go together, or use before `adapt`.

    Example:
        space = FeatureSpace({"age": "float_normalized", "city": "string_categorical"})
        space.adapt(table)
        space(table)
    """

    def __init__(self, features, output_mode="concat", crosses=None, crossing_dim=32, hashing_dim=32,
                 num_discretization_bins=32, name=None):
        super().__init__(name=name)
        if not features:
            raise ValueError("[FeatureSpace] The `features` argument cannot be None or empty.")
        if output_mode not in ("dict", "concat"):
            raise ValueError("[FeatureSpace] Invalid value for argument `output_mode`. Expected one of {'dict', 'concat'}. "
                             f"Received: output_mode={output_mode!r}")
        self.output_mode = output_mode
        self.crossing_dim, self.hashing_dim, self.num_discretization_bins = crossing_dim, hashing_dim, num_discretization_bins
        self.features = {key: self._standard_feature(key, value) for key, value in features.items()}
        self.crosses = [self._standard_cross(cross) for cross in crosses or ()]
        self.preprocessors = {key: feature.preprocessor for key, feature in self.features.items()}
        self.crossers = {cross.name: HashedCrossing(cross.crossing_dim, name=cross.name) for cross in self.crosses}
        self.one_hot_encoders = {}
        self._is_adapted = False
        self.inputs = self.encoded_features = None

    def _build_at_init(self):
        """It is built when it is adapted, used, or read from a file."""

    # The kinds of columns ----------------------------------------------------------------------------------

    @classmethod
    def cross(cls, feature_names, crossing_dim, output_mode="one_hot"):
        """See `Cross`."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype, preprocessor, output_mode):
        """See `Feature`."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name=None):
        """Numbers as they are."""
        return Feature("float32", Identity(dtype="float32", name=_preprocessor(name, "float")), "float")

    @classmethod
    def float_rescaled(cls, scale=1.0, offset=0.0, name=None):
        """Numbers times `scale` plus `offset`."""
        return Feature("float32", Rescaling(scale, offset, name=_preprocessor(name, "float_rescaled")), "float")

    @classmethod
    def float_normalized(cls, name=None):
        """Numbers with mean 0 and variance 1 over what `adapt` saw."""
        return Feature("float32", Normalization(axis=-1, name=_preprocessor(name, "float_normalized")), "float")

    @classmethod
    def float_discretized(cls, num_bins, bin_boundaries=None, output_mode="one_hot", name=None):
        """The bins of numbers, at `bin_boundaries`, or at the quantiles of what `adapt` saw."""
        layer = Discretization(bin_boundaries=bin_boundaries, num_bins=num_bins if bin_boundaries is None else None,
                               name=_preprocessor(name, "float_discretized"))
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(cls, max_tokens=None, num_oov_indices=1, output_mode="one_hot", name=None):
        """Integers that name categories."""
        layer = IntegerLookup(max_tokens=max_tokens, num_oov_indices=num_oov_indices,
                              name=_preprocessor(name, "integer_categorical"))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(cls, max_tokens=None, num_oov_indices=1, output_mode="one_hot", name=None):
        """Strings that name categories."""
        layer = StringLookup(max_tokens=max_tokens, num_oov_indices=num_oov_indices,
                             name=_preprocessor(name, "string_categorical"))
        return Feature("string", layer, output_mode)

    @classmethod
    def string_hashed(cls, num_bins, output_mode="one_hot", name=None):
        """Strings hashed into bins."""
        return Feature("string", Hashing(num_bins, name=_preprocessor(name, "string_hashed")), output_mode)

    @classmethod
    def integer_hashed(cls, num_bins, output_mode="one_hot", name=None):
        """Integers hashed into bins."""
        return Feature("int32", Hashing(num_bins, name=_preprocessor(name, "integer_hashed")), output_mode)

    def _standard_feature(self, name, value):
        if isinstance(value, dict):
            value = deserialize_keras_object(value, _CLASSES)
        if isinstance(value, Feature):
            return value
        sizes = {"float_discretized": self.num_discretization_bins, "integer_hashed": self.hashing_dim,
                 "string_hashed": self.hashing_dim}
        kinds = ("float", "float_normalized", "float_rescaled", "integer_categorical", "string_categorical", *sizes)
        if value not in kinds:
            raise ValueError(f"[FeatureSpace] Invalid feature type: it must be one of {sorted(kinds)}. Received: {name}={value!r}")
        arguments = {"num_bins": sizes[value]} if value in sizes else {}
        return getattr(self, value)(name=name, **arguments)

    def _standard_cross(self, cross):
        if isinstance(cross, dict):
            cross = deserialize_keras_object(cross, _CLASSES)
        if not isinstance(cross, Cross):
            if not self.crossing_dim:
                raise ValueError("[FeatureSpace] When specifying `crosses`, the argument `crossing_dim` (dimensionality of the "
                                 f"crossing space) should be specified as well. Received: crossing_dim={self.crossing_dim}")
            cross = Cross(cross, self.crossing_dim)
        unknown = [name for name in cross.feature_names if name not in self.features]
        if unknown:
            raise ValueError("[FeatureSpace] All features referenced in the `crosses` argument should be present in the `features` "
                             f"dict. Received unknown features: {unknown}")
        return cross

    # Adapting and calling ----------------------------------------------------------------------------------

    def _to_adapt(self):
        def ready(layer):
            if isinstance(layer, Normalization):
                return layer.input_mean is not None
            if isinstance(layer, TextVectorization):
                return layer.vocabulary_size() > 2
            if isinstance(layer, Discretization):
                return layer.bin_boundaries is not None
            return not hasattr(layer, "adapt")

        return [name for name, layer in self.preprocessors.items() if not ready(layer)]

    def adapt(self, dataset):
        """Learns the vocabularies, means and quantiles of the columns that need them.

        Args:
            dataset: dict of arrays or lists, or an iterable of such dicts, of single values or batches.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(dataset, dict) and not hasattr(dataset, "__iter__"):
            raise ValueError("[FeatureSpace] `adapt()` can only be called on a dict of arrays/lists or a data set of dicts. "
                             f"Received: {dataset!r} (of type {type(dataset)})")
        names = self._to_adapt() if not self._is_adapted else [n for n, p in self.preprocessors.items() if hasattr(p, "adapt")]
        parts = {name: [] for name in names}
        for batch in [dataset] if isinstance(dataset, dict) else dataset:
            for name in names:
                parts[name].append(_column(batch[name]))
        for name in names:
            self.preprocessors[name].adapt(np.concatenate(parts[name]))
        self._is_adapted, self.built = True, True
        self.one_hot_encoders, self.encoded_features = {}, None

    def _check_adapted(self):
        if not self._is_adapted and self._to_adapt():
            raise ValueError("[FeatureSpace] You need to call `.adapt(dataset)` on the FeatureSpace before you can start using it.")
        self._is_adapted = self.built = True

    def __call__(self, data):
        """The features of a dict of columns; for single values without an axis of rows."""
        self._check_adapted()
        if not isinstance(data, dict):
            raise ValueError(f"[FeatureSpace] A FeatureSpace can only be called with a dict. Received: data={data!r} "
                             f"(of type {type(data)})")
        if in_graph((data,), {}):
            return call_in_graph(self, (data,), {}, self._spec)
        single = all(np.ndim(x) == 0 for x in data.values())
        result = self._features({name: _column(data[name]) for name in self.features})
        if not single:
            return result
        if self.output_mode == "concat":
            return ops.squeeze(result, 0)
        return {name: ops.squeeze(x, 0) if x.ndim == 2 and x.shape[0] == 1 else x for name, x in result.items()}

    def call(self, data):
        return self(data)

    def _spec(self, data):
        """The result for symbolic columns: the shape of one row's features, behind the axis of rows where there is one."""
        def some(name, feature):  # a value that its layer takes: one in the vocabulary, where there is one
            words = getattr(self.preprocessors[name], "get_vocabulary", lambda **_: [])(include_special_tokens=False)
            text = feature.dtype == "string"
            return np.array([[words[0] if len(words) else "" if text else 0]], dtype=object if text else feature.dtype)

        row = self._features({name: some(name, feature) for name, feature in self.features.items()})
        single = all(len(x.shape) == 0 for x in data.values())
        return tree.map_structure(lambda y: KerasTensor(y.shape[1:] if single else (None, *y.shape[1:]), y.dtype), row)

    def _features(self, columns):
        prepared = {name: self.preprocessors[name](columns[name]) for name in self.features}
        crossed = {cross.name: self.crossers[cross.name]([prepared[n] for n in cross.feature_names]) for cross in self.crosses}
        specs = {**self.features, **{cross.name: cross for cross in self.crosses}}
        result = {}
        for name in [*sorted(prepared), *sorted(crossed)]:
            x = prepared[name] if name in prepared else crossed[name]
            result[name] = self._one_hot(name, x) if specs[name].output_mode == "one_hot" else x
        if self.output_mode == "dict":
            return result
        for name, x in result.items():
            if not hasattr(x, "dtype") or not str(x.dtype).startswith(("float", "bfloat")):
                raise ValueError(f"[FeatureSpace] Cannot concatenate features because feature '{name}' has not been encoded (it has "
                                 f"dtype {getattr(x, 'dtype', 'string')}). Consider using `output_mode='dict'`.")
        return ops.concatenate(list(result.values()), axis=-1)

    def _one_hot(self, name, x):
        if name not in self.one_hot_encoders:
            if not str(x.dtype).startswith("int"):
                raise ValueError(f"[FeatureSpace] Feature '{name}' has `output_mode='one_hot'`. Thus its preprocessor should return "
                                 f"an integer dtype. Instead it returns a {x.dtype} dtype.")
            layer = self.preprocessors.get(name) or self.crossers[name]
            if isinstance(layer, (IntegerLookup, StringLookup)):
                size = layer.vocabulary_size()
            elif isinstance(layer, Discretization):
                size = layer.num_bins if layer.num_bins is not None else len(layer.bin_boundaries) + 1
            elif isinstance(layer, (Hashing, HashedCrossing)):
                size = layer.num_bins
            elif isinstance(layer, CategoryEncoding):
                size = layer.num_tokens
            else:
                raise ValueError(f"[FeatureSpace] Feature '{name}' has `output_mode='one_hot'`. However it isn't a standard feature "
                                 "and the dimensionality of its output space is not known, thus it cannot be one-hot encoded. Try "
                                 "using `output_mode='int'`.")
            self.one_hot_encoders[name] = CategoryEncoding(size, output_mode="multi_hot")
        return self.one_hot_encoders[name](x)

    # Symbolic use and files --------------------------------------------------------------------------------

    def get_inputs(self):
        """{name: symbolic column} for a model of `get_encoded_features`."""
        self._check_adapted()
        if self.inputs is None:
            self.inputs = {name: Input((1,), dtype=feature.dtype, name=name) for name, feature in self.features.items()}
        return self.inputs

    def get_encoded_features(self):
        """The symbolic features of `get_inputs`."""
        self._check_adapted()
        if self.encoded_features is None:
            self.encoded_features = self._features(self.get_inputs())
        return self.encoded_features

    def save(self, filepath):
        """Writes it to a file, which `fastnn.saving.load_model` reads.

        Args:
            filepath: path that ends in `.keras`.
        """
        from ..saving.model_files import save_model

        save_model(self, filepath)

    def get_config(self):
        return {
            "features": {name: serialize_keras_object(feature) for name, feature in self.features.items()},
            "output_mode": self.output_mode,
            "crosses": [serialize_keras_object(cross) for cross in self.crosses],
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def get_build_config(self):
        return {name: feature.preprocessor.get_build_config() for name, feature in self.features.items()}

    def build_from_config(self, config):
        for name, own in config.items():
            preprocessor = self.features[name].preprocessor
            if not preprocessor.built:
                preprocessor.build_from_config(own)
        self._is_adapted = self.built = True


def _preprocessor(name, kind):
    return f"{name or auto_name(kind)}_preprocessor"


def _column(x):
    """Values as an array (rows, 1), or (rows, ...) where they have more axes; strings as str."""
    if isinstance(x, KerasTensor):
        return x
    x = to_numpy(x) if isinstance(x, Tensor) else np.asarray(x)
    if x.dtype.kind in "OS":
        x = np.array([v.decode() if isinstance(v, bytes) else v for v in x.ravel()], dtype=object).reshape(x.shape)
    return x.reshape(1, 1) if x.ndim == 0 else x[:, None] if x.ndim == 1 else x
