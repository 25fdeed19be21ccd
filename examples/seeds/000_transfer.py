"""Transfer learning: a frozen Xception with a new classifier on top.

From a notebook on deep-learning architectures. It asks for weights="imagenet", which are read from Keras's cache and never
downloaded; here the weights are random, and the images made up.
"""

import numpy as np

import fastnn as keras

# Freeze the base model
base_model = keras.applications.Xception(weights=None, include_top=False, pooling="avg")
base_model.trainable = False

# Use a Sequential model to add a trainable classifier on top
ext_model = keras.Sequential([
    base_model,
    keras.layers.Dense(1000),
])  # fmt: skip
ext_model.compile()
ext_model.summary()

# One batch: only the classifier learns
before = ext_model.get_weights()
ext_model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
ext_model.train_on_batch(np.random.default_rng(0).random((2, 71, 71, 3)), np.array([3, 7]))
changed = [bool((a != b).any()) for a, b in zip(before, ext_model.get_weights())]
print("weights that changed:", sum(changed), "of", len(changed))
