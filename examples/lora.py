"""Low-rank adaptation: a trained network learns a second task by thin matrices beside its frozen kernels.

    python examples/lora.py
"""
import numpy as np

import fastnn as keras
from fastnn import layers

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.standard_normal((1024, 16)).astype("float32")
first = (x[:, :8].sum(1) > 0).astype("float32")
second = (x[:, 4:12].sum(1) > 0).astype("float32")  # the other half of what it depends on is new

model = keras.Sequential([
    keras.Input((16,)),
    layers.Dense(64, activation="relu", name="hidden"),
    layers.Dense(64, activation="relu", name="deep"),
    layers.Dense(1, activation="sigmoid", name="head"),
])
model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy"])
model.fit(x, first, epochs=8, verbose=0)
print(f"first task: accuracy {model.evaluate(x, first, verbose=0, return_dict=True)['accuracy']:.2f}")
print(f"second task, untrained: accuracy {model.evaluate(x, second, verbose=0, return_dict=True)['accuracy']:.2f}")

kernels = [layer._kernel.numpy() for layer in model.layers]
for layer in model.layers:
    layer.enable_lora(rank=2)
model.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy", metrics=["accuracy"])
trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
print(f"trainable parameters: {trained} of {model.count_params()}")
model.fit(x, second, epochs=12, verbose=0)
accuracy = model.evaluate(x, second, verbose=0, return_dict=True)["accuracy"]
print(f"second task, adapted: accuracy {accuracy:.2f}")
print("kernels as before:", all((k == layer._kernel.numpy()).all() for k, layer in zip(kernels, model.layers)))
