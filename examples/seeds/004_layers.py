"""The layers that lecture notes describe: dense, embedding, convolutions, pooling, batch norm.

The notes have no programs beyond the imports; the three networks here are the ones they describe,
trained for one epoch on made-up data, and the parameter counts are the formulas of the notes.
"""

import numpy as np

import fastnn as tf

print(tf.__version__)
print(tf.keras.__version__)

rng = np.random.default_rng(0)
layers = tf.keras.layers

# Flatten, a dense hidden layer of 128 nodes, a dense output layer of 10 digits
dense = tf.keras.Sequential([
    tf.keras.Input(shape=(28, 28)),
    layers.Flatten(),
    layers.Dense(128, activation="relu"),
    layers.Dense(10, activation="softmax"),
])  # fmt: skip
assert dense.layers[1].count_params() == 784 * 128 + 128
dense.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
dense.summary()
dense.fit(rng.random((128, 28, 28)), rng.integers(0, 10, 128), epochs=1)

# Text: an embedding of 16 numbers per word, averaged over 256 words
text = tf.keras.Sequential([
    tf.keras.Input(shape=(256,)),
    layers.Embedding(1000, 16),
    layers.GlobalAveragePooling1D(),
    layers.Dropout(0.5),
    layers.Dense(1, activation="sigmoid"),
])  # fmt: skip
text.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
text.summary()
text.fit(rng.integers(0, 1000, (64, 256)), rng.integers(0, 2, 64), epochs=1)

# Images: convolutions with padding "same", separable ones, pooling, batch normalization
images = tf.keras.Sequential([
    tf.keras.Input(shape=(32, 32, 3)),
    layers.Conv2D(16, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(2),
    layers.SeparableConv2D(32, 3, padding="same", activation="relu"),
    layers.BatchNormalization(),
    layers.AveragePooling2D(2),
    layers.DepthwiseConv2D(3, padding="same"),
    layers.GlobalAveragePooling2D(),
    layers.Dense(10, activation="softmax"),
])  # fmt: skip
convolution, norm = images.layers[0], images.layers[3]
assert convolution.count_params() == (3 * 3 * 3 + 1) * 16
# 4 numbers per channel; only gamma and beta of them are trainable
assert norm.count_params() == 4 * 32
assert [w.name for w in norm.trainable_weights] == ["gamma", "beta"]
images.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
images.summary()
images.fit(rng.random((64, 32, 32, 3)), rng.integers(0, 10, 64), epochs=1)

# Conv1D and GlobalMaxPooling1D on a sequence
sequence = tf.keras.Sequential([
    tf.keras.Input(shape=(50, 8)),
    layers.Conv1D(16, 5, activation="relu"),
    layers.GlobalMaxPooling1D(),
    layers.Dense(1),
])  # fmt: skip
sequence.compile(optimizer="adam", loss="mse", metrics=["mae"])
sequence.fit(rng.random((64, 50, 8)), rng.random(64), epochs=1)
