"""A model with three outputs: age, income group and gender of the author of posts.

From notes on advanced deep-learning practices. As written there, Embedding(256, vocabulary_size)
makes vectors of 50,000 numbers: the model of 46 million parameters is built and shown; the same
model with a smaller vocabulary is trained, on made-up posts.
"""

import numpy as np

from fastnn import Input, layers
from fastnn.models import Model

num_income_groups = 10


def build(vocabulary_size):
    posts_input = Input(shape=(None,), dtype="int32", name="posts")
    embedded_posts = layers.Embedding(256, vocabulary_size)(posts_input)

    x = layers.Conv1D(128, 5, activation="relu")(embedded_posts)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(128, activation="relu")(x)

    age_prediction = layers.Dense(1, name="age")(x)
    income_prediction = layers.Dense(num_income_groups, activation="softmax", name="income")(x)
    gender_prediction = layers.Dense(1, activation="sigmoid", name="gender")(x)

    return Model(posts_input, [age_prediction, income_prediction, gender_prediction])


build(vocabulary_size=50000).summary()

model = build(vocabulary_size=100)
rng = np.random.default_rng(0)
posts = rng.integers(1, 256, (32, 300))
age_targets = rng.integers(18, 80, (32, 1))
income_targets = np.eye(num_income_groups)[rng.integers(0, num_income_groups, 32)]
gender_targets = rng.integers(0, 2, (32, 1))

model.compile(optimizer="rmsprop", loss=["mse", "categorical_crossentropy", "binary_crossentropy"])
model.fit(posts, [age_targets, income_targets, gender_targets], epochs=1, batch_size=16)

# Equivalent to the usage above
model.compile(
    optimizer="rmsprop",
    loss={"age": "mse", "income": "categorical_crossentropy", "gender": "binary_crossentropy"},
)
model.fit(
    posts,
    {"age": age_targets, "income": income_targets, "gender": gender_targets},
    epochs=1,
    batch_size=16,
)

# Losses of one scale: the weights balance them
model.compile(
    optimizer="rmsprop",
    loss=["mse", "categorical_crossentropy", "binary_crossentropy"],
    loss_weights=[0.25, 1.0, 10.0],
)
model.fit(posts, [age_targets, income_targets, gender_targets], epochs=1, batch_size=16)

model.compile(
    optimizer="rmsprop",
    loss={"age": "mse", "income": "categorical_crossentropy", "gender": "binary_crossentropy"},
    loss_weights={"age": 0.25, "income": 1.0, "gender": 10.0},
)
history = model.fit(
    posts,
    {"age": age_targets, "income": income_targets, "gender": gender_targets},
    epochs=1,
    batch_size=16,
)
print("history:", list(history.history))
