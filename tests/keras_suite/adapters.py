"""Objects that Keras keeps in private modules, as thin covers of fastnn's own: sources of batches, calibrations, shapes.

A cover only translates names and the form of results; what is computed, and every check, is fastnn's.
"""
import importlib
import os

import numpy as np

TARGET = os.environ.get("KERAS_ALIAS_TARGET", "fastnn")
T = importlib.import_module(TARGET)


def part(path):
    return importlib.import_module(f"{TARGET}.{path}")


data, common, tracking, symbolic = part("trainer.data"), part("trainer.common"), part("tracking"), part("symbolic")
calibration, gptq, awq = part("quantizers.calibration"), part("quantizers.gptq"), part("quantizers.awq")


# ---- sources of batches


def as_numpy(batch):
    return T.tree.map_structure(lambda t: None if t is None else np.asarray(t), common.pack(batch))


class DataAdapter:
    """A source of batches of `trainer.data`."""

    def __init__(self, source):
        self.data = source

    num_batches = property(lambda self: self.data.steps)
    batch_size = property(lambda self: self.data.batch_size)

    @property
    def has_partial_batch(self):
        return None if self.data.size is None else self.data.size % self.batch_size != 0

    @property
    def partial_batch_size(self):
        return None if self.data.size is None else self.data.size % self.batch_size or None

    def on_epoch_begin(self):
        self.data.on_epoch_begin()

    def on_epoch_end(self):
        self.data.on_epoch_end()

    def get_numpy_iterator(self):
        return map(as_numpy, self.data.epoch())

    def get_tf_dataset(self):
        import tensorflow as tf

        def to_tf(nest):  # lists are tuples in tf.data
            return tuple(map(to_tf, nest)) if isinstance(nest, (list, tuple)) else (
                {k: to_tf(v) for k, v in nest.items()} if isinstance(nest, dict) else tf.constant(nest))

        return map(to_tf, self.get_numpy_iterator())


class ArrayDataAdapter(DataAdapter):
    def __init__(self, x, y=None, sample_weight=None, batch_size=32, steps=None, shuffle=False, class_weight=None):
        super().__init__(data.ArrayData(x, y, sample_weight, batch_size, class_weight, shuffle))


class GeneratorDataAdapter(DataAdapter):
    def __init__(self, generator):
        super().__init__(data.make_data(generator))


class PyDatasetAdapter(DataAdapter):
    def __init__(self, x, class_weight=None, shuffle=False):
        super().__init__(data.make_data(x, class_weight=class_weight, shuffle=shuffle))


class TFDatasetAdapter(DataAdapter):
    def __init__(self, dataset, class_weight=None):
        super().__init__(data.make_data(dataset, class_weight=class_weight))


class TorchDataLoaderAdapter(DataAdapter):
    """What a torch DataLoader tells of its batches is read from it; fastnn asks for their number only."""

    def __init__(self, dataloader):
        super().__init__(data.make_data(dataloader))
        self.loader = dataloader

    batch_size = property(lambda self: self.loader.batch_size)

    def _rest(self):
        try:
            return len(self.loader.dataset) % self.batch_size
        except TypeError:  # an endless data set, or no batches
            return None

    has_partial_batch = property(lambda self: None if self._rest() is None else self._rest() > 0)
    partial_batch_size = property(lambda self: self._rest() or None)


def get_data_adapter(x, y=None, sample_weight=None, batch_size=None, shuffle=False, class_weight=None, **kwargs):
    source = data.make_data(x, y, sample_weight, batch_size, class_weight, shuffle)
    if isinstance(source, data.ArrayData):
        return DataAdapter(source)
    kind = {"torch DataLoader": TorchDataLoaderAdapter, "tf.data.Dataset": TFDatasetAdapter, "PyDataset": PyDatasetAdapter,
            "generator": GeneratorDataAdapter}[data.kind_of(x)]
    adapter = kind.__new__(kind)
    DataAdapter.__init__(adapter, source)
    return adapter


class EpochIterator:
    """The steps of epochs as `Trainer.fit` goes through them."""

    def __init__(self, x, y=None, sample_weight=None, batch_size=None, steps_per_epoch=None, shuffle=False, class_weight=None,
                 steps_per_execution=1):
        self.data_adapter = get_data_adapter(x, y, sample_weight, batch_size, shuffle, class_weight)
        self.steps_per_epoch = steps_per_epoch
        self.batches = common.Steps(self.data_adapter.data)

    def __iter__(self):
        self.batches.begin()
        step = 0
        while self.steps_per_epoch is None or step < self.steps_per_epoch:
            batch = self.batches.next()
            if batch is None:
                T.Model._check_ran_dry(self, step, self.steps_per_epoch, self.batches.used)
                break
            yield step, step, [as_numpy(batch)]
            step += 1
        self.batches.end()

    enumerate_epoch = __iter__


def class_weight_to_sample_weights(y, class_weight):
    return data.class_weights(y, class_weight)


# ---- calibrations


class GPTQ(gptq.GPTQ):
    update_hessian_with_batch = gptq.GPTQ.update
    quantize_and_correct_layer = gptq.GPTQ.quantize

    def __init__(self, layer, config=None):
        super().__init__(layer, config)
        self.layer = layer

    def free(self):
        del self.hessian, self.layer


class AWQ(awq.AWQ):
    update_activation_magnitudes = awq.AWQ.update
    quantize_layer = awq.AWQ.quantize

    def free(self):
        del self.activation_magnitudes


def get_dataloader(tokenizer, sequence_length, dataset, num_samples=128, **options):
    return calibration.calibration_samples(tokenizer, sequence_length, dataset, num_samples, **options)


def gptq_quantize(config, quantization_layer_structure, filters=None):
    calibration.calibrate(gptq.GPTQ, config, quantization_layer_structure, filters)


# ---- state that is tracked


class Tracker:
    """Lists of the objects that pass tests, for the containers of `tracking`."""

    def __init__(self, config):
        self.config = config

    def _track(self, x):
        for passes, kept in self.config.values():
            if passes(x):
                kept.append(x)

    def _untrack(self, x):
        for _, kept in self.config.values():
            kept[:] = [k for k in kept if k is not x]

    def track(self, x):
        return tracking.wrap(x, self)


def tracked(kind):
    return lambda values=(), tracker=None: kind(values, tracker)


# ---- shapes, as fastnn's operations infer them


def shape_of(f, *shapes, **options):
    return symbolic.infer(f, tuple(T.KerasTensor(s) for s in shapes), options).shape


def compute_conv_output_shape(input_shape, filters, kernel_size, strides=1, padding="valid", data_format="channels_last",
                              dilation_rate=1):
    channels = input_shape[-1 if data_format == "channels_last" else 1]
    return shape_of(T.ops.conv, input_shape, (*kernel_size, channels, filters), strides=strides, padding=padding,
                    data_format=data_format, dilation_rate=dilation_rate)


def compute_pooling_output_shape(input_shape, pool_size, strides, padding="valid", data_format="channels_last"):
    return shape_of(T.ops.max_pool, input_shape, pool_size=pool_size, strides=strides, padding=padding, data_format=data_format)


T.models.Functional._operations = property(lambda model: model._graph.operations)

NAMES = {}
for _modules, _found in (
    (("trainers.data_adapters.array_data_adapter", "trainers.data_adapters"), {"ArrayDataAdapter": ArrayDataAdapter}),
    (("trainers.data_adapters.generator_data_adapter", "trainers.data_adapters"), {"GeneratorDataAdapter": GeneratorDataAdapter}),
    (("trainers.data_adapters.py_dataset_adapter", "trainers.data_adapters"), {"PyDatasetAdapter": PyDatasetAdapter}),
    (("trainers.data_adapters.tf_dataset_adapter", "trainers.data_adapters"), {"TFDatasetAdapter": TFDatasetAdapter}),
    (("trainers.data_adapters.torch_data_loader_adapter", "trainers.data_adapters"), {"TorchDataLoaderAdapter": TorchDataLoaderAdapter}),
    (("trainers.data_adapters",), {"get_data_adapter": get_data_adapter}),
    (("trainers.data_adapters.data_adapter_utils",), {"class_weight_to_sample_weights": class_weight_to_sample_weights}),
    (("trainers.epoch_iterator",), {"EpochIterator": EpochIterator}),
    (("quantizers.gptq",), {"GPTQ": GPTQ, "gptq_quantize_matrix": gptq.gptq_quantize_matrix,
                            "_stable_permutation": lambda metric: T.ops.array(gptq.stable_permutation(metric))}),
    (("quantizers.awq",), {"AWQ": AWQ, "awq_quantize_matrix": awq.awq_quantize_matrix,
                           "awq_search_optimal_scales": awq.awq_search_optimal_scales}),
    (("quantizers.gptq_core",), {"get_dataloader": get_dataloader, "gptq_quantize": gptq_quantize}),
    (("utils.tracking",), {"Tracker": Tracker, "TrackedList": tracked(tracking.TrackedList), "TrackedDict": tracked(tracking.TrackedDict),
                           "TrackedSet": tracked(tracking.TrackedSet), "TrackedOrderedDict": tracked(tracking.TrackedOrderedDict)}),
    (("ops.operation_utils",), {
        "get_source_inputs": T.utils.get_source_inputs, "compute_conv_output_shape": compute_conv_output_shape,
        "compute_pooling_output_shape": compute_pooling_output_shape,
        "compute_expand_dims_output_shape": lambda shape, axis: shape_of(T.ops.expand_dims, shape, axis=axis),
        "compute_reshape_output_shape": lambda shape, newshape, newshape_arg_name: shape_of(T.ops.reshape, shape, newshape=newshape),
        "reduce_shape": lambda shape, axis=None, keepdims=False: shape_of(T.ops.sum, shape, axis=axis, keepdims=keepdims)}),
    (("ops.numpy",), {"broadcast_shapes": lambda a, b: list(shape_of(T.ops.add, a, b))}),
    (("utils.dtype_utils",), {"dtype_size": lambda d: 1 if d == "bool" else part("dtypes").numpy_dtype(
        part("dtypes").standardize_dtype(d)).itemsize * 8}),
):
    NAMES.update({(module, name): value for module in _modules for name, value in _found.items()})
