"""Text classification with attention: words are numbered without TensorFlow, and padding is masked.

    python examples/text_attention.py
"""
import numpy as np

import fastnn as keras
from fastnn import layers

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
GOOD, BAD, PLAIN = "good great fine lovely".split(), "bad awful poor dull".split(), "the a film plot scene it was and".split()


def review():
    liked = rng.random() < 0.5
    words = list(rng.choice(PLAIN, rng.integers(5, 12)))
    words[rng.integers(len(words))] = str(rng.choice(GOOD if liked else BAD))
    return " ".join(words).capitalize() + ".", float(liked)


texts, labels = zip(*(review() for _ in range(600)))
labels = np.array(labels, "float32")
vectorize = layers.TextVectorization(output_sequence_length=12)
vectorize.adapt(list(texts))
numbers = np.asarray(vectorize(list(texts)))
print("vocabulary:", vectorize.vocabulary_size())

words = keras.Input((12,), dtype="int64")
x = layers.Embedding(vectorize.vocabulary_size(), 16, mask_zero=True)(words)
x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)]))
y = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling1D()(x))
model = keras.Model(words, y)
model.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy", metrics=["accuracy"])
model.fit(numbers[:500], labels[:500], epochs=6, verbose=0)
result = model.evaluate(numbers[500:], labels[500:], verbose=0, return_dict=True)
print(f"accuracy on new reviews: {result['accuracy']:.2f}")
