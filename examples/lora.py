"""Low-rank adaptation: a network that reads upright digits learns lying ones by thin matrices beside its frozen kernels.

8 x 8 digits (UCI, inside scikit-learn); the lying ones are turned by 90 degrees.

    pip install "fastnn[examples]"
    python examples/lora.py
"""
import os
import tempfile

import numpy as np

import fastnn as keras
from fastnn import layers

keras.utils.set_random_seed(0)
(x, y), (x_test, y_test) = keras.datasets.digits.load_data()
x, x_test = (a.astype("float32") / 16 for a in (x, x_test))


def lying(images):
    return np.rot90(images, axes=(1, 2))


model = keras.Sequential([
    keras.Input((8, 8)),
    layers.Flatten(),
    layers.Dense(128, activation="relu", name="hidden"),
    layers.Dense(128, activation="relu", name="deep"),
    layers.Dense(10, activation="softmax", name="head"),
])


def compiled(rate):
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])


def accuracy(images):
    return model.evaluate(images, y_test, verbose=0, return_dict=True)["accuracy"]


compiled(3e-3)
model.fit(x, y, epochs=12, verbose=0)
print(f"upright: accuracy {accuracy(x_test):.3f}")
print(f"lying, as trained: accuracy {accuracy(lying(x_test)):.3f}")

dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
kernels = [layer._kernel.numpy() for layer in dense]
for layer in dense:
    layer.enable_lora(rank=4)  # kernel + a @ b, with a of 4 columns and b of 4 rows; only these and the biases are trained
compiled(1e-2)
trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
print(f"trainable parameters: {trained} of {model.count_params()}")
model.fit(lying(x), y, epochs=20, verbose=0)
print(f"lying, adapted: accuracy {accuracy(lying(x_test)):.3f}")
print("kernels as before:", all((k == layer._kernel.numpy()).all() for k, layer in zip(kernels, dense)))

with tempfile.TemporaryDirectory() as folder:  # a file holds kernel + a @ b
    path = os.path.join(folder, "adapted.keras")
    model.save(path)
    merged = keras.models.load_model(path)
print(f"the file predicts the same: {np.allclose(merged.predict(x_test, verbose=0), model.predict(x_test, verbose=0), atol=1e-5)}")
