"""An inception block: four branches of convolutions, joined.

From notes on advanced deep-learning practices. There the branches end in different sizes and
cannot be joined, in Keras either; padding="same" makes all of them half the input.
"""

import numpy as np

from fastnn import Input, layers
from fastnn.models import Model

x = Input(shape=(16, 16, 3))

branch_a = layers.Conv2D(128, 1, activation="relu", strides=2, padding="same")(x)

branch_b = layers.Conv2D(128, 1, activation="relu")(x)
branch_b = layers.Conv2D(128, 3, activation="relu", strides=2, padding="same")(branch_b)

branch_c = layers.AveragePooling2D(3, strides=2, padding="same")(x)
branch_c = layers.Conv2D(128, 3, activation="relu", padding="same")(branch_c)

branch_d = layers.Conv2D(128, 1, activation="relu")(x)
branch_d = layers.Conv2D(128, 3, activation="relu", padding="same")(branch_d)
branch_d = layers.Conv2D(128, 3, activation="relu", strides=2, padding="same")(branch_d)

output = layers.concatenate([branch_a, branch_b, branch_c, branch_d], axis=-1)

# A head, to train the block for one epoch on made-up images
classes = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(output))
model = Model(x, classes)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.summary()

rng = np.random.default_rng(0)
model.fit(rng.random((32, 16, 16, 3)), rng.integers(0, 10, 32), batch_size=16, epochs=1)
