"""The same layers through the functional API, and an ensemble of such models.

From a notebook on deep-learning architectures; the images are made up.
"""

import numpy as np

import fastnn as keras

# Functional API
inputs = keras.Input(shape=(256, 25, 3))
dense = keras.layers.Dense(32, activation="relu", name="G-x")
x = dense(inputs)
x = keras.layers.Dense(32, activation="relu", name="G-q")(x)
outputs = keras.layers.Dense(10, name="G-k")(x)
model = keras.Model(inputs=inputs, outputs=outputs, name="my_func_model")
model.summary()

rng = np.random.default_rng(0)
images = rng.random((4, 256, 25, 3), dtype="float32")
classes = rng.integers(0, 10, (4, 256, 25))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
model.fit(images, classes, batch_size=2, epochs=1)

# "It allows to aggregate models and create an ensemble model"
other = keras.Sequential([keras.Input(shape=(256, 25, 3)), keras.layers.Dense(10)])
ensemble = keras.Model(inputs, keras.layers.average([model(inputs), other(inputs)]))
print("ensemble:", ensemble.predict(images, verbose=0).shape)
