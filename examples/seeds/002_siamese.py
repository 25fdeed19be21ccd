"""Shared weights: one LSTM reads two sentences, to learn how similar they are.

From notes on advanced deep-learning practices. The text calls fit before compile; here compile
comes first. The sentences are made up.
"""

import numpy as np

from fastnn import Input, layers
from fastnn.models import Model

lstm = layers.LSTM(32)

left_input = Input(shape=(None, 128))
left_output = lstm(left_input)

right_input = Input(shape=(None, 128))
right_output = lstm(right_input)

merged = layers.concatenate([left_output, right_output], axis=-1)
predictions = layers.Dense(1, activation="sigmoid")(merged)

model = Model([left_input, right_input], predictions)
model.summary()

rng = np.random.default_rng(0)
left_data, right_data = rng.standard_normal((2, 64, 20, 128))
targets = rng.integers(0, 2, 64)
try:
    model.fit([left_data, right_data], targets)
except ValueError as error:
    print("fit before compile:", error)

model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit([left_data, right_data], targets, epochs=1)
