"""A training loop of one's own with GradientTape: what fit() does, written out.

8 x 8 digits (UCI, inside scikit-learn). The step is captured: after its first calls it is replayed without Python.

    pip install "fastnn[examples]"
    python examples/custom_loop.py
"""
import numpy as np

import fastnn as keras
from fastnn import layers, ops

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
(x, y), (x_test, y_test) = keras.datasets.digits.load_data()
x, x_test = (a.reshape(len(a), 64).astype("float32") / 16 for a in (x, x_test))
y, y_test = y.astype("int32"), y_test.astype("int32")

model = keras.Sequential([
    keras.Input((64,)),
    layers.Dense(64, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4)),
    layers.Dropout(0.2),
    layers.Dense(10),
])
BATCH, EPOCHS = 32, 15
steps = len(x) // BATCH
loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(5e-3, EPOCHS * steps), global_clipnorm=1.0)
mean_loss, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()


@keras.capture
def train_step(images, labels):
    with keras.GradientTape() as tape:
        logits = model(images, training=True)  # dropout is on
        loss = loss_function(labels, logits) + ops.sum(ops.stack(model.losses))  # the regularizer's part
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    mean_loss.update_state(loss)
    accuracy.update_state(labels, logits)
    return loss


for epoch in range(EPOCHS):
    order = rng.permutation(len(x))
    for start in range(0, steps * BATCH, BATCH):
        rows = order[start : start + BATCH]
        train_step(x[rows], y[rows])
    if epoch in (0, EPOCHS - 1):
        print(f"epoch {epoch + 1}: loss {float(mean_loss.result()):.3f}, accuracy {float(accuracy.result()):.3f}")
    mean_loss.reset_state()
    accuracy.reset_state()

predicted = np.asarray(model(x_test, training=False)).argmax(-1)
print(f"held out: accuracy {(predicted == y_test).mean():.3f}")
