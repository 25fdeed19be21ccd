"""CTC: read a line of strokes without knowing where a sign begins.

Signs are short curves drawn at changing speed into one long line of 24 points; the network sees points, the labels
are the signs in order.

    python examples/ctc.py
"""
import numpy as np

import fastnn as keras
from fastnn import layers, ops

SIGNS, LENGTH, POINTS = 3, 3, 24
keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)


def sign(kind, points):
    t = np.linspace(0, 1, points)
    across = {1: np.sin(np.pi * t), 2: -np.sin(np.pi * t), 3: np.sin(2 * np.pi * t)}[kind]
    return np.stack([t, across], -1)


def line():
    labels = rng.integers(1, SIGNS + 1, LENGTH)
    parts = [sign(kind, rng.integers(6, 9)) for kind in labels]
    points = np.concatenate(parts)[:POINTS]
    x = np.zeros((POINTS, 2), "float32")
    x[: len(points)] = points + rng.normal(0, 0.05, points.shape)
    return x, labels


def data(n):
    rows = [line() for _ in range(n)]
    return np.stack([x for x, _ in rows]).astype("float32"), np.stack([y for _, y in rows])


x, y = data(512)
model = keras.Sequential([
    keras.Input((POINTS, 2)),
    layers.Conv1D(32, 5, padding="same", activation="relu"),
    layers.Bidirectional(layers.LSTM(24, return_sequences=True)),
    layers.Dense(SIGNS + 1),  # class 0 is the blank
])
model.compile(keras.optimizers.Adam(1e-2), keras.losses.CTC())
history = model.fit(x, y, batch_size=64, epochs=12, verbose=0).history["loss"]
print(f"loss: {history[0]:.2f} -> {history[-1]:.2f}")

x, y = data(64)
logits = model.predict(x, verbose=0)
for strategy in ("greedy", "beam_search"):
    paths, _ = ops.ctc_decode(logits, np.full(64, POINTS), strategy=strategy, beam_width=5)
    read = np.asarray(paths)[0]
    right = np.mean([row[row >= 0].tolist() == label.tolist() for row, label in zip(read, y)])
    print(f"{strategy}: {right:.0%} of the lines read right")
