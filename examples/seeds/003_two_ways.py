"""A layer, a two-layer network in both APIs, compiled and trained.

From notes on the anatomy of neural networks; the data are made up. The text has the old
argument `lr` of the optimizer, which fastnn takes for learning_rate, and `metric` in
place of `metrics`, which is answered with the right name.
"""

import numpy as np

from fastnn import layers, models, optimizers

layer = layers.Dense(32, input_shape=(784,))

model = models.Sequential()
model.add(layers.Dense(32, input_shape=(784,)))
model.add(layers.Dense(32))
model.summary()

# Two layer model using Sequential class
model = models.Sequential()
model.add(layers.Dense(32, activation="relu", input_shape=(784,)))
model.add(layers.Dense(10, activation="softmax"))

# Same model defined using the functional API
input_tensor = layers.Input(shape=(784,))
x = layers.Dense(32, activation="relu")(input_tensor)
output_tensor = layers.Dense(10, activation="softmax")(x)
model = models.Model(inputs=input_tensor, outputs=output_tensor)

try:
    model.compile(optimizer=optimizers.RMSprop(lr=0.001), loss="mse", metric=["accuracy"])
except TypeError as error:
    print(error)
model.compile(optimizer=optimizers.RMSprop(lr=0.001), loss="mse", metrics=["accuracy"])

rng = np.random.default_rng(0)
inputs, targets = rng.random((256, 784)), np.eye(10)[rng.integers(0, 10, 256)]
model.fit(inputs, targets, batch_size=128, epochs=1)
