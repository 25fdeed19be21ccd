"""FeatureSpace: tables as features, adapted on dicts and on data sets of dicts."""
import numpy as np
import pytest

import fastnn as keras
from fastnn.utils import FeatureSpace

TABLE = {
    "height": [1.5, 1.7, 1.6, 1.8], "age": [20, 30, 40, 50], "city": ["Oslo", "Rome", "Oslo", "Kyiv"],
    "kind": [3, 7, 7, 7],
}


def space(**options):
    return FeatureSpace({"height": "float_normalized", "age": FeatureSpace.float_discretized(bin_boundaries=[25, 45], num_bins=None),
                         "city": "string_categorical", "kind": "integer_categorical"}, crosses=[("city", "kind")], crossing_dim=8,
                        **options)


def test_columns_become_vectors():
    features = space(output_mode="dict")
    with pytest.raises(ValueError, match="need to call"):
        features(TABLE)
    features.adapt(TABLE)
    out = features(TABLE)
    height = np.array(TABLE["height"])
    np.testing.assert_allclose(np.ravel(out["height"]), (height - height.mean()) / height.std(), rtol=1e-5)
    np.testing.assert_array_equal(np.argmax(out["age"], -1), [0, 1, 1, 2])
    assert out["city"].shape == (4, 4) and np.argmax(out["city"], -1)[0] == np.argmax(out["city"], -1)[2] == 1
    assert out["kind"].shape == (4, 3) and out["city_X_kind"].shape == (4, 8)
    both = space()
    both.adapt(TABLE)
    whole = both(TABLE)
    np.testing.assert_array_equal(whole, np.concatenate([out[n] for n in ("age", "city", "height", "kind", "city_X_kind")], -1))
    one = both({name: column[1] for name, column in TABLE.items()})
    np.testing.assert_array_equal(one, whole[1])


def test_it_adapts_on_a_data_set():
    a, b = space(), space()
    a.adapt(TABLE)
    b.adapt([{name: column[i:i + 2] for name, column in TABLE.items()} for i in (0, 2)])
    np.testing.assert_allclose(a(TABLE), b(TABLE), rtol=1e-5)
    c = space()
    c.adapt([{name: column[i] for name, column in TABLE.items()} for i in range(4)])
    np.testing.assert_allclose(a(TABLE), c(TABLE), rtol=1e-5)


def test_symbolic_features_train_a_model():
    numbers = {name: np.array(TABLE[name]) for name in ("height", "kind")}
    features = FeatureSpace({"height": "float", "kind": "integer_hashed"})
    model = keras.Model(features.get_inputs(), keras.layers.Dense(1)(features.get_encoded_features()))
    model.compile("sgd", "mse")
    model.fit(numbers, np.ones((4, 1), "f"), verbose=0)
    np.testing.assert_allclose(model.predict(numbers, verbose=0), model.layers[-1](features(numbers)), rtol=1e-5)


def test_config_and_errors():
    a = space()
    b = FeatureSpace.from_config(a.get_config())
    a.adapt(TABLE)
    b.adapt(TABLE)
    np.testing.assert_array_equal(a(TABLE), b(TABLE))
    for arguments, text in (({"features": {}}, "cannot be None or empty"), ({"features": {"a": "odd"}}, "Invalid feature type"),
                            ({"features": {"a": "float"}, "output_mode": "list"}, "for argument `output_mode`"),
                            ({"features": {"a": "float"}, "crosses": [("a", "b")]}, "should be present in"),
                            ({"features": {"a": "float"}, "crosses": [("a", "a")], "crossing_dim": None}, "`crossing_dim`")):
        with pytest.raises(ValueError, match=text):
            FeatureSpace(**arguments)
    ints = FeatureSpace({"kind": FeatureSpace.integer_hashed(4, output_mode="int")})
    with pytest.raises(ValueError, match="has not been encoded"):
        ints(TABLE)
    with pytest.raises(ValueError, match="called with a dict"):
        ints([1])


def test_files_and_symbolic_strings(tmp_path):
    a = space()
    a.adapt(TABLE)
    expected = np.asarray(a(TABLE))
    a.save(tmp_path / "a.keras")
    b = keras.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(b(TABLE), expected)
    b.save(tmp_path / "b.keras")
    for features in (a, keras.saving.load_model(tmp_path / "b.keras")):
        inputs = features.get_inputs()
        assert "string" in {x.dtype for x in inputs.values()}
        model = keras.Model(inputs, features.get_encoded_features())
        assert model.output_shape == (None, expected.shape[-1])
        table = {name: np.array(column) for name, column in TABLE.items()}
        np.testing.assert_allclose(model.predict(table, verbose=0, batch_size=3), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="Invalid filepath extension"):
        a.save(tmp_path / "a.json")
