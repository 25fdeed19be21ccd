"""Two outputs of one network: which of three cultivars a wine is from, and how strong its colour is.

178 wines with 13 measurements (UCI, inside scikit-learn). Colour is one of them: it becomes a target and leaves the inputs.

    pip install "fastnn[examples]"
    python examples/multi_output.py
"""
import numpy as np
from sklearn.datasets import load_wine

import fastnn as keras
from fastnn import layers

keras.utils.set_random_seed(0)
wine = load_wine()
colour = wine.feature_names.index("color_intensity")
order = np.random.default_rng(0).permutation(len(wine.data))
x = np.delete(wine.data, colour, axis=1)[order].astype("float32")
kind, intensity = wine.target[order], wine.data[order, colour, None].astype("float32")
train, test = slice(0, 130), slice(130, None)

normalize = layers.Normalization()
normalize.adapt(x[train])  # mean and variance of the training rows

measurements = keras.Input((x.shape[1],), name="measurements")
hidden = layers.Dense(32, activation="relu")(normalize(measurements))
model = keras.Model(measurements, {
    "kind": layers.Dense(3, activation="softmax", name="kind")(hidden),
    "colour": layers.Dense(1, name="colour")(hidden),
})
model.compile(
    keras.optimizers.Adam(1e-2),
    loss={"kind": "sparse_categorical_crossentropy", "colour": "mse"},
    loss_weights={"kind": 1.0, "colour": 0.2},  # the squared error is some five times as large
    metrics={"kind": ["accuracy"], "colour": ["mae"]},
)
targets = {"kind": kind, "colour": intensity}
model.fit(x[train], {k: v[train] for k, v in targets.items()}, batch_size=16, epochs=40, verbose=0)
scores = model.evaluate(x[test], {k: v[test] for k, v in targets.items()}, verbose=0, return_dict=True)
print("scores:", sorted(scores))
print(f"kind: accuracy {scores['kind_accuracy']:.3f}")
guess = np.abs(intensity[test] - intensity[train].mean()).mean()
print(f"colour: off by {scores['colour_mae']:.2f}; always guessing the mean is off by {guess:.2f}")

first = model.predict(x[test][:1], verbose=0)
print({k: np.round(v[0], 2).tolist() for k, v in first.items()})
