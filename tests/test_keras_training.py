"""Ten and more steps of training against Keras 3: losses, metrics, their names, final weights."""

import numpy as np
import pytest

import fastnn as keras
from fixtures import Fixtures, model_cases, several

TRAINING = Fixtures("training")


@pytest.mark.parametrize("name", TRAINING.names())
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
def test_training(name):
    spec, a = model_cases.run(keras, name)
    expected_spec, expected = TRAINING.spec(name), TRAINING.arrays(name)
    assert spec == expected_spec
    assert set(a) - {"evaluate"} == set(expected) - {"evaluate"}
    for key, value in expected.items():
        assert a[key].shape == value.shape, key
        np.testing.assert_allclose(a[key], value, rtol=1e-4, atol=1e-4, err_msg=key)


def test_every_case_is_stored():
    assert TRAINING.names() == list(model_cases.CASES)


def test_batch_methods_give_the_numbers_of_fit():
    """train_on_batch over the same batches ends in the weights that fit ended in."""
    name = "mlp"
    build, data, _ = model_cases.CASES[name]
    x, y = data(model_cases.data_stream(name))
    model = build(keras)
    model.set_weights(model_cases.start_weights(model, name))
    for epoch in range(2):
        total = 0.0
        for start in range(0, len(x), 8):
            rows = slice(start, start + 8)
            # Each call reports its own batch; an epoch's loss is the mean over its rows.
            total += model.train_on_batch(x[rows], y[rows], return_dict=True)["loss"] * len(x[rows])
        np.testing.assert_allclose(total / len(x), TRAINING.arrays(name)["history:loss"][epoch], rtol=1e-4)
    for w, e in zip(model.get_weights(), several(TRAINING.arrays(name), "w")):
        np.testing.assert_allclose(w, e, rtol=1e-4, atol=1e-4)
    scores = model.test_on_batch(x, y)
    assert len(scores) == 2
    np.testing.assert_array_equal(
        model.predict_on_batch(x[:8]), model.predict(x[:8], batch_size=8, verbose=0)
    )
