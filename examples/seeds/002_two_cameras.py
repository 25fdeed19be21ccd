"""A model shared like a layer: one Xception looks through two cameras; and InceptionV3, which Keras has built in.

From notes on advanced deep-learning practices; the pictures are made up.
"""

import numpy as np

from fastnn import Input, Model, applications, layers

xception_base = applications.Xception(weights=None, include_top=False)

left_input = Input(shape=(250, 250, 3))
right_input = Input(shape=(250, 250, 3))
left_features = xception_base(left_input)
right_features = xception_base(right_input)
merged_features = layers.concatenate([left_features, right_features], axis=-1)

model = Model([left_input, right_input], merged_features)
print(f"parameters: {model.count_params():,}, of the shared Xception: {xception_base.count_params():,}")
left, right = np.random.default_rng(0).random((2, 1, 250, 250, 3), dtype="float32")
features = model.predict([left, right], verbose=0)
print("features:", features.shape)
swapped = model.predict([right, left], verbose=0)
print("one network for both:", np.array_equal(features[..., :2048], swapped[..., 2048:]))

inception = applications.inception_v3.InceptionV3(weights=None)
print(f"InceptionV3: {inception.count_params():,} parameters")
