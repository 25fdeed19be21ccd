"""Text and numbers in, a class and a value out.

From a training report on Keras; the data are made up.
"""

import numpy as np

import fastnn as tf

# Input 1: Text data
text_input = tf.keras.Input(shape=(100,), name="text_input")
x1 = tf.keras.layers.Embedding(input_dim=10000, output_dim=64)(text_input)
x1 = tf.keras.layers.LSTM(128)(x1)

# Input 2: Numerical data
numerical_input = tf.keras.Input(shape=(10,), name="numerical_input")
x2 = tf.keras.layers.Dense(64, activation="relu")(numerical_input)

# Concatenate features
combined = tf.keras.layers.concatenate([x1, x2])

# Output 1: Classification
output1 = tf.keras.layers.Dense(10, activation="softmax", name="output1")(combined)

# Output 2: Regression
output2 = tf.keras.layers.Dense(1, activation="linear", name="output2")(combined)

# Define the model
model = tf.keras.Model(inputs=[text_input, numerical_input], outputs=[output1, output2])

# Compile the model
model.compile(
    optimizer="adam",
    loss={"output1": "sparse_categorical_crossentropy", "output2": "mse"},
    metrics={"output1": "accuracy", "output2": "mae"},
)

# Summary of the model
model.summary()

rng = np.random.default_rng(0)
text, numbers = rng.integers(0, 10000, (64, 100)), rng.standard_normal((64, 10))
classes, values = rng.integers(0, 10, 64), rng.standard_normal((64, 1))
history = model.fit(
    {"text_input": text, "numerical_input": numbers},
    {"output1": classes, "output2": values},
    epochs=1,
)
print("history:", list(history.history))
