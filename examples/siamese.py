"""A Siamese network: one encoder reads two images and tells whether they show the same digit.

It is trained on pairs of the digits 0 to 6 and asked about 7, 8 and 9, which it has never seen (8 x 8 images, UCI, inside
scikit-learn).

    pip install "fastnn[examples]"
    python examples/siamese.py
"""
import numpy as np

import fastnn as keras
from fastnn import layers, ops

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
(x, y), (x_test, y_test) = keras.datasets.digits.load_data()
x, x_test = (a[..., None].astype("float32") / 16 for a in (x, x_test))


def pairs(x, y, n):
    """n pairs of images, half of them of one digit, and 1 where they are."""
    left = rng.integers(0, len(x), n)
    right = np.empty(n, int)
    same = np.arange(n) % 2
    for i, row in enumerate(left):
        right[i] = rng.choice(np.flatnonzero((y == y[row]) == same[i]))
    return [x[left], x[right]], same.astype("float32")


encoder = keras.Sequential([
    keras.Input((8, 8, 1)),
    layers.Conv2D(32, 3, activation="relu"),
    layers.Conv2D(32, 3, activation="relu"),
    layers.Flatten(),
    layers.Dropout(0.3),
    layers.Dense(32),
], name="encoder")


class Distance(layers.Layer):
    """The Euclidean distance of two batches of vectors (n, d), as (n, 1)."""

    def call(self, left, right):
        squares = ops.sum(ops.square(left - right), axis=-1, keepdims=True)
        return ops.sqrt(squares + 1e-6)  # the root has no finite slope at zero


def contrastive(same, distance):
    """Pulls equal digits together, and pushes others apart up to a distance of 1 (Hadsell, Chopra and LeCun 2006)."""
    return ops.mean(same * ops.square(distance) + (1 - same) * ops.square(ops.maximum(1 - distance, 0)), axis=-1)


left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
model = keras.Model([left, right], Distance()(encoder(left), encoder(right)))
model.compile(keras.optimizers.Adam(2e-3), contrastive)
print(f"parameters: {model.count_params()}, all of them in the one encoder: {encoder.count_params()}")

known = y < 7
images, same = pairs(x[known], y[known], 6000)
history = model.fit(images, same[:, None], batch_size=64, epochs=10, verbose=0).history["loss"]
print(f"loss: {history[0]:.3f} -> {history[-1]:.3f}")

for name, seen in (("digits 0 to 6, new images", y_test < 7), ("digits 7 to 9, never seen", y_test >= 7)):
    images, same = pairs(x_test[seen], y_test[seen], 1000)
    near = model.predict(images, verbose=0)[:, 0] < 0.5
    print(f"{name}: {(near == same).mean():.3f} of the pairs right")
