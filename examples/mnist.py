"""Trains a small convolutional network on 5,000 real handwritten digits and looks at its mistakes.

    pip install "fastnn[examples]"
    python examples/mnist.py                     three seeds, 20 epochs each
    python examples/mnist.py --seeds 1 --epochs 2 --at-least 0

Prints the summary and progress, saves the weights, loads them into a new model, and writes
mnist.png: loss and accuracy by epoch, and the images the model was most wrong about. Exits with 1
if the mean accuracy on the held-out images is below --at-least.
"""

import argparse
import pathlib
import sys

import numpy as np

import fastnn as keras
from fastnn import layers


def build():
    return keras.Sequential([
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ])


def shifted(x, y, batch_size, rng):
    """Batches without end, every image moved by up to two pixels: 4,000 images alone are soon known by heart."""
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), axis=(1, 2))
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            down, right = rng.integers(0, 5, (2, batch_size))
            yield windows[rows, down, right].transpose(0, 2, 3, 1), y[rows]


def train(seed, epochs, data, verbose):
    """A trained model and its history."""
    (x, y), held_out = data
    keras.utils.set_random_seed(seed)
    model = build()
    steps = len(x) // 64
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    batches = shifted(x, y, 64, np.random.default_rng(seed))
    history = model.fit(batches, steps_per_epoch=steps, epochs=epochs, validation_data=held_out, verbose=verbose)
    return model, history.history


def draw(path, history, x, y, probabilities):
    """Curves and the 12 images whose true class the model found least likely."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[4, 1])
    for axis, name in zip(top.subplots(1, 2), ("loss", "accuracy")):
        epochs = range(1, len(history[name]) + 1)
        axis.plot(epochs, history[name], label="training")
        axis.plot(epochs, history[f"val_{name}"], label="held out")
        axis.set(xlabel="epoch", title=name)
        axis.legend()
    worst = np.argsort(probabilities[np.arange(len(y)), y])[:12]
    for axis, i in zip(bottom.subplots(1, 12), worst):
        axis.imshow(x[i, :, :, 0], cmap="gray_r")
        axis.set_title(f"{y[i]} as {probabilities[i].argmax()}", fontsize=9)
        axis.axis("off")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many trainings are averaged")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--at-least", type=float, default=0.97, help="accuracy that must be reached")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("examples/output"))
    args = parser.parse_args()

    (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
    x, x_test = (a[..., None].astype("float32") / 255 for a in (x, x_test))
    print(f"{len(x)} images to learn from, {len(x_test)} held out")
    data = (x, y), (x_test, y_test)
    args.output.mkdir(parents=True, exist_ok=True)

    build().summary()
    accuracies = []
    for seed in range(args.seeds):
        print(f"seed {seed}")
        model, history = train(seed, args.epochs, data, verbose="auto")
        _, accuracy = model.evaluate(x_test, y_test, verbose=0)
        print(f"seed {seed}: held-out accuracy {accuracy:.4f}")
        accuracies.append(accuracy)

    weights = args.output / "mnist.safetensors"
    model.save_weights(weights)
    again = build()
    again.load_weights(weights)
    probabilities = again.predict(x_test, verbose=0)
    if not np.array_equal(probabilities, model.predict(x_test, verbose=0)):
        print("the reloaded model gives other predictions")
        return 1
    picture = args.output / "mnist.png"
    draw(picture, history, x_test, y_test, probabilities)

    mean = float(np.mean(accuracies))
    print(f"mean held-out accuracy of {args.seeds} seeds after {args.epochs} epochs: {mean:.4f}")
    print(f"weights: {weights}, picture: {picture}")
    if mean < args.at_least:
        print(f"below {args.at_least}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
