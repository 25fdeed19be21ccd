"""A Sequential model on images, then with all layers but the last one frozen.

From a notebook on deep-learning architectures; the images are made up.
"""

import numpy as np

import fastnn as keras

# Sequential modeling
seq_model = keras.Sequential(name="my_seq_model")
seq_model.add(keras.Input(shape=(250, 250, 3)))
seq_model.add(keras.layers.Dense(32, activation="relu", name="layer-1"))
seq_model.add(keras.layers.Dense(32, activation="relu", name="layer-2"))
seq_model.add(keras.layers.Dense(1, activation="sigmoid", name="layer-3"))
seq_model.summary()

# Transfer learning: freeze all layers but the last one
for layer in seq_model.layers[:-1]:
    layer.trainable = False

seq_model.compile()
seq_model.summary()

# One epoch: only layer-3 learns which pixels are bright
rng = np.random.default_rng(0)
images = rng.random((4, 250, 250, 3), dtype="float32")
bright = (images.mean(axis=-1, keepdims=True) > 0.5).astype("float32")
before = seq_model.get_weights()
seq_model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
seq_model.fit(images, bright, batch_size=2, epochs=1)
changed = [bool((a != b).any()) for a, b in zip(before, seq_model.get_weights())]
print("weights that changed:", changed)
assert changed == [False] * 4 + [True] * 2
