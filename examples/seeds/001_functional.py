"""Functional composition of the same network: inputs, hidden layers, outputs, model.

From a training report on Keras; the digits are made up.
"""

import numpy as np

import fastnn as tf

# Define inputs
inputs = tf.keras.Input(shape=(784,))

# Build hidden layers
x = tf.keras.layers.Dense(128, activation="relu")(inputs)
x = tf.keras.layers.Dropout(0.2)(x)

# Define output layer
outputs = tf.keras.layers.Dense(10, activation="softmax")(x)

# Create the model
model = tf.keras.Model(inputs=inputs, outputs=outputs)

# Compile the model
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

# Summary of the model
model.summary()

rng = np.random.default_rng(0)
model.fit(rng.random((256, 784)), rng.integers(0, 10, 256), epochs=1)
