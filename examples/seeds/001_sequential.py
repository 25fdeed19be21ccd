"""Sequential composition: two dense layers with dropout on flat 28 x 28 digits.

From a training report on Keras; the digits are made up.
"""

import numpy as np

import fastnn as tf

# Create a Sequential model
model = tf.keras.Sequential([
    tf.keras.layers.Dense(128, activation="relu", input_shape=(784,)),
    tf.keras.layers.Dropout(0.2),  # Dropout layer to prevent overfitting
    tf.keras.layers.Dense(10, activation="softmax"),  # Output layer for classification
])  # fmt: skip

# Compile the model
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

# Summary of the model
model.summary()

rng = np.random.default_rng(0)
model.fit(rng.random((256, 784)), rng.integers(0, 10, 256), epochs=1)
