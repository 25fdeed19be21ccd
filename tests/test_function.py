"""Operations of one's own, and functions between symbolic tensors."""
import numpy as np
import pytest

import fastnn as keras
from fastnn import ops


class Scale(keras.Operation):
    def __init__(self, factor, *, shift=1.0, name=None):
        super().__init__(name=name)
        self.factor, self.shift = factor, shift

    def call(self, x):
        return x * self.factor + self.shift, ops.sum(x, axis=-1)


def test_an_operation_runs_on_tensors_and_in_models():
    scale = Scale(2.0, name="twice")
    y, total = scale(np.ones((2, 3), "f"))
    np.testing.assert_array_equal(y, np.full((2, 3), 3.0))
    inputs = keras.Input((3,))
    outputs = scale(inputs)
    assert [x.shape for x in outputs] == [(None, 3), (None,)] and scale.output == list(outputs)
    model = keras.Model(inputs, outputs)
    y, total = model.predict(np.ones((2, 3), "f"), verbose=0)
    np.testing.assert_array_equal(y, np.full((2, 3), 3.0))
    np.testing.assert_array_equal(total, [3.0, 3.0])


def test_configs_of_operations():
    scale = Scale(2.0)
    assert scale.get_config() == {"factor": 2.0, "shift": 1.0, "name": scale.name}
    again = Scale.from_config(scale.get_config())
    assert (again.factor, again.shift, again.name) == (2.0, 1.0, scale.name)
    with pytest.raises(NotImplementedError, match="get_config"):
        Scale(object()).get_config()
    with pytest.raises(ValueError, match="cannot contain character"):
        Scale(1.0, name="a/b")
    with pytest.raises(NotImplementedError, match="call"):
        keras.Operation()(1)


def test_a_function_of_symbolic_tensors():
    a, b = keras.KerasTensor((None, 3)), keras.KerasTensor((None, 3))
    both = ops.add(a, b)
    function = keras.Function({"a": a, "b": b}, [both * 3, ops.sum(both)], name="f")
    y, total = function({"a": np.ones((2, 3)), "b": np.ones((2, 3))})
    np.testing.assert_array_equal(y, np.full((2, 3), 6.0))
    assert float(total) == 12.0 and len(function.operations) == 3
    symbolic = function({"a": keras.KerasTensor((4, 3)), "b": keras.KerasTensor((4, 3))})
    assert symbolic[0].shape == (4, 3) and symbolic[1].shape == ()
    assert function.compute_output_shape({"a": (5, 3), "b": (5, 3)}) == [(5, 3), ()]
    inner = keras.Function(both, both * 3)  # from the middle
    np.testing.assert_array_equal(inner(np.ones((1, 3))), np.full((1, 3), 3.0))
    for wrong, text in ((np.ones((2, 3)), "invalid input structure"),
                        ({"a": np.ones((2, 4)), "b": np.ones((2, 3))}, "incompatible inputs")):
        with pytest.raises(ValueError, match=text):
            function(wrong)
    for arguments in (([], both), (a, [])):
        with pytest.raises(ValueError, match="cannot be empty"):
            keras.Function(*arguments)
    with pytest.raises(ValueError, match="graph disconnected"):
        keras.Function(a, both)


@pytest.mark.parametrize("function, shapes, expected", [
    (lambda x, y: ops.concatenate([x, y], axis=0), [(None, 3), (2, None)], (None, 3)),
    (lambda x, y: ops.tensordot(x, y, axes=[[1], [1]]), [(None, None), (5, 3)], (None, 5)),
    (ops.inner, [(None,), (3,)], ()), (ops.dot, [(4, None), (3, 2)], (4, 2)),
    (ops.matmul, [(None, None), (3, 2)], (None, 2)),
])
def test_an_unknown_size_may_meet_a_known_one(function, shapes, expected):
    assert function(*map(keras.KerasTensor, shapes)).shape == expected


def test_sizes_that_cannot_agree_are_refused():
    with pytest.raises(ValueError, match="inner sizes must be equal"):
        ops.matmul(keras.KerasTensor((None, 4)), keras.KerasTensor((3, 2)))
