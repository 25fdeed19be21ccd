"""Layers in the graph of a `tf.data` pipeline: there, TensorFlow calls them on tensors without values.

TensorFlow is never imported: without it there are no such tensors.
"""
import sys

import numpy as np

from .. import tree
from ..symbolic import KerasTensor


def in_graph(args, kwargs):
    """Whether an argument is a tensor of a TensorFlow graph."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not hasattr(tf, "executing_eagerly") or tf.executing_eagerly():
        return False
    return any(tf.is_tensor(x) for x in tree.flatten([list(args), kwargs]))


def call_in_graph(function, args, kwargs, spec_of=None):
    """Puts the call of `function` into the graph: TensorFlow runs it on arrays.

    Args:
        function: a layer, or a function of arrays.
        spec_of: the function from KerasTensors to KerasTensors; that of the layer by default.

    Returns:
        TensorFlow tensors, in the structure of the result, with the shapes and dtypes of a symbolic call.
    """
    tf = sys.modules["tensorflow"]
    leaves = tree.flatten([list(args), kwargs])
    places = [i for i, x in enumerate(leaves) if tf.is_tensor(x)]
    given = [leaves[i] for i in places]

    def with_tensors(values):
        filled = list(leaves)
        for place, value in zip(places, values):
            filled[place] = value
        new_args, new_kwargs = tree.pack_sequence_as([list(args), kwargs], filled)
        return tuple(new_args), new_kwargs

    spec_args, spec_kwargs = with_tensors([_symbolic(x) for x in given])
    spec = (spec_of or function.compute_output_spec)(*spec_args, **spec_kwargs)
    flat = tree.flatten(spec)

    def run(*arrays):
        new_args, new_kwargs = with_tensors(arrays)
        results = tree.flatten(function(*new_args, **new_kwargs))
        return [np.asarray(y).astype(s.dtype, copy=False) for y, s in zip(results, flat)]

    results = tf.numpy_function(run, given, [tf.as_dtype(s.dtype) for s in flat], stateful=True)
    for result, s in zip(results, flat):
        result.set_shape(s.shape)
    return tree.pack_sequence_as(spec, list(results))


def _symbolic(x):
    if x.shape.rank is None:
        raise ValueError("[tf.data] the number of axes must be known where a layer is mapped over a data set. "
                         "Received: a tensor of unknown rank")
    # Of strings, only the shape matters.
    return KerasTensor(tuple(x.shape.as_list()), dtype="int64" if x.dtype.name == "string" else x.dtype.name)
