"""One network, written as a Sequential model and through the functional API.

From notes on advanced deep-learning practices; the data are made up.
"""

import numpy as np

from fastnn import Input, layers
from fastnn.models import Model, Sequential

# Sequential
seq_model = Sequential()
seq_model.add(layers.Dense(32, activation="relu", input_shape=(64,)))
seq_model.add(layers.Dense(32, activation="relu"))
seq_model.add(layers.Dense(10, activation="softmax"))

# Functional API
input_tensor = Input(shape=(64,))
x = layers.Dense(32, activation="relu")(input_tensor)
x = layers.Dense(32, activation="relu")(x)
output_tensor = layers.Dense(10, activation="softmax")(x)

# Model Class transform the i-o tensor to a model
model = Model(input_tensor, output_tensor)

rng = np.random.default_rng(0)
data, targets = rng.random((128, 64)), np.eye(10)[rng.integers(0, 10, 128)]
for m in (seq_model, model):
    m.compile(optimizer="rmsprop", loss="categorical_crossentropy")
    m.summary()
    m.fit(data, targets, epochs=1)

model.set_weights(seq_model.get_weights())
same = np.array_equal(model.predict(data, verbose=0), seq_model.predict(data, verbose=0))
print("same weights, same predictions:", same)
assert same
