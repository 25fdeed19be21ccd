"""Residual connections: the identity, and a 1 x 1 convolution where the shapes differ.

From notes on advanced deep-learning practices; `x = ...` is an input, the images are made up.
"""

import numpy as np

from fastnn import Input, layers
from fastnn.models import Model

# Identity Residual Connection
x = Input(shape=(8, 8, 128))
y = layers.Conv2D(128, 3, activation="relu", padding="same")(x)
y = layers.Conv2D(128, 3, activation="relu", padding="same")(y)
y = layers.Conv2D(128, 3, activation="relu", padding="same")(y)
y = layers.add([y, x])
identity = Model(x, y, name="identity_residual")

# Linear Residual Connection
x = Input(shape=(8, 8, 3))
y = layers.Conv2D(128, 3, activation="relu", padding="same")(x)
y = layers.Conv2D(128, 3, activation="relu", padding="same")(y)
y = layers.MaxPooling2D(2, strides=2)(y)
# Use 1 x 1 conv, subsampling x to the shape of y
residual = layers.Conv2D(128, 1, strides=2, padding="same")(x)
y = layers.add([y, residual])
linear = Model(x, y, name="linear_residual")

rng = np.random.default_rng(0)
for model, channels, size in ((identity, 128, 8), (linear, 3, 4)):
    model.compile(optimizer="sgd", loss="mse")
    model.summary()
    images = rng.random((16, 8, 8, channels))
    model.fit(images, rng.random((16, size, size, 128)), batch_size=8, epochs=1)
