"""The parts of a custom training process: own loop, loss, metric, schedule, callback.

A training report on Keras lists them without code; this is the smallest program that has all.
"""

import numpy as np

import fastnn as tf
from fastnn import ops

rng = np.random.default_rng(0)
x = rng.standard_normal((64, 8)).astype("float32")
y = x[:, :2] @ np.array([[1.0], [-2.0]], dtype="float32")

model = tf.keras.Sequential([
    tf.keras.Input(shape=(8,)),
    tf.keras.layers.Dense(16, activation="tanh"),
    tf.keras.layers.Dense(1),
])  # fmt: skip


# Custom loss: mean squared error and a constraint of the domain (values below -3 cost extra)
def constrained_mse(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred) + 10.0 * ops.relu(-3.0 - y_pred), axis=-1)


# Custom metric: the share of predictions within half a unit
class WithinHalf(tf.keras.metrics.Metric):
    def __init__(self, name="within_half"):
        super().__init__(name=name)
        self.hits = self.add_variable((), "zeros", name="hits")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        near = ops.cast(ops.abs(y_true - y_pred) < 0.5, "float32")
        self.hits.assign_add(ops.sum(near))
        self.count.assign_add(ops.cast(ops.shape(y_true)[0], "float32"))

    def result(self):
        return self.hits / self.count

    def reset_state(self):
        self.hits.assign(0.0)
        self.count.assign(0.0)


# Custom training loop: forward pass, loss, gradients, clipped parameter updates
schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.05, decay_steps=10, decay_rate=0.9)
optimizer = tf.keras.optimizers.Adam(learning_rate=schedule, global_clipnorm=1.0)
losses = []
for step in range(30):
    with tf.GradientTape() as tape:
        loss = ops.mean(constrained_mse(y, model(x, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    losses.append(float(loss))
print(f"own loop: loss {losses[0]:.3f} -> {losses[-1]:.3f}")
assert losses[-1] < losses[0]


# Callbacks: log intermediate results, stop early, lower the learning rate on a plateau
class Log(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(f"epoch {epoch}:", {k: round(float(v), 3) for k, v in logs.items()})


model.compile(optimizer=tf.keras.optimizers.RMSprop(0.01), loss=constrained_mse, metrics=[WithinHalf()])
callbacks = [
    Log(),
    tf.keras.callbacks.EarlyStopping(monitor="val_loss", patience=2),
    tf.keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=1),
]
model.fit(x, y, epochs=3, validation_split=0.25, callbacks=callbacks, verbose=0)
