"""The models whose speed is compared, written once against the Keras API: `K` is fastnn or Keras.

WORKLOADS: name -> (build, data); build(K) gives a compiled model, data(rng) gives x, y, batch size.
"""
import numpy as np

SPARSE = "sparse_categorical_crossentropy"


def _mlp(K):
    m = K.Sequential([
        K.Input(shape=(784,)), K.layers.Dense(128, activation="relu"), K.layers.Dropout(0.2),
        K.layers.Dense(10, activation="softmax")])
    m.compile(optimizer="adam", loss=SPARSE, metrics=["accuracy"])
    return m


def _mlp_data(rng, n=4096):
    return rng.standard_normal((n, 784), dtype=np.float32), rng.integers(0, 10, n), 32


def _cnn(K):
    m = K.Sequential([
        K.Input(shape=(28, 28, 1)),
        K.layers.Conv2D(32, 3, activation="relu"), K.layers.MaxPooling2D(2),
        K.layers.Conv2D(64, 3, activation="relu"), K.layers.MaxPooling2D(2),
        K.layers.Flatten(), K.layers.Dropout(0.5), K.layers.Dense(10, activation="softmax")])
    m.compile(optimizer="adam", loss=SPARSE, metrics=["accuracy"])
    return m


def _cnn_data(rng, n=1024):
    return rng.standard_normal((n, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, n), 128


def _qa(K):
    """Question answering: two texts, two LSTMs."""
    text = K.Input(shape=(100,), dtype="int32", name="text")
    question = K.Input(shape=(100,), dtype="int32", name="question")
    a = K.layers.LSTM(32)(K.layers.Embedding(10000, 64)(text))
    b = K.layers.LSTM(16)(K.layers.Embedding(10000, 32)(question))
    m = K.Model([text, question], K.layers.Dense(500, activation="softmax")(K.layers.concatenate([a, b], axis=-1)))
    m.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["acc"])
    return m


def _qa_data(rng, n=512):
    y = np.zeros((n, 500), np.float32)
    y[np.arange(n), rng.integers(0, 500, n)] = 1
    return [rng.integers(1, 10000, (n, 100)).astype("int32") for _ in range(2)], y, 128


def _posts(K):
    """A trunk of Conv1D and three heads."""
    L = K.layers
    i = K.Input(shape=(500,), dtype="int32", name="posts")
    x = L.Embedding(20000, 256)(i)
    for filters, pooled in ((128, True), (256, False), (256, True), (256, False), (256, False)):
        x = L.Conv1D(filters, 5, activation="relu")(x)
        if pooled:
            x = L.MaxPooling1D(5)(x)
    x = L.Dense(128, activation="relu")(L.GlobalMaxPooling1D()(x))
    m = K.Model(i, [L.Dense(1, name="age")(x), L.Dense(10, activation="softmax", name="income")(x),
                    L.Dense(1, activation="sigmoid", name="gender")(x)])
    m.compile(optimizer="rmsprop", loss=["mse", "categorical_crossentropy", "binary_crossentropy"], loss_weights=[0.25, 1.0, 10.0])
    return m


def _posts_data(rng, n=192):
    income = np.eye(10, dtype=np.float32)[rng.integers(0, 10, n)]
    return (rng.integers(1, 20000, (n, 500)).astype("int32"),
            [rng.standard_normal((n, 1), dtype=np.float32), income, rng.integers(0, 2, (n, 1)).astype("float32")], 64)


def _siamese(K):
    lstm = K.layers.LSTM(32)
    a, b = K.Input(shape=(50, 128)), K.Input(shape=(50, 128))
    m = K.Model([a, b], K.layers.Dense(1, activation="sigmoid")(K.layers.concatenate([lstm(a), lstm(b)], axis=-1)))
    m.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return m


def _siamese_data(rng, n=512):
    return [rng.standard_normal((n, 50, 128), dtype=np.float32) for _ in range(2)], rng.integers(0, 2, (n, 1)).astype("float32"), 64


def _mixed(K):
    """Text and numbers in, a class and a value out."""
    t = K.Input(shape=(100,), name="text_input")
    n = K.Input(shape=(10,), name="numerical_input")
    c = K.layers.concatenate([K.layers.LSTM(128)(K.layers.Embedding(input_dim=10000, output_dim=64)(t)),
                              K.layers.Dense(64, activation="relu")(n)])
    m = K.Model(inputs=[t, n], outputs=[K.layers.Dense(10, activation="softmax", name="output1")(c),
                                        K.layers.Dense(1, activation="linear", name="output2")(c)])
    m.compile(optimizer="adam", loss={"output1": SPARSE, "output2": "mse"}, metrics={"output1": "accuracy", "output2": "mae"})
    return m


def _mixed_data(rng, n=512):
    return ({"text_input": rng.integers(0, 10000, (n, 100)).astype("int32"),
             "numerical_input": rng.standard_normal((n, 10), dtype=np.float32)},
            {"output1": rng.integers(0, 10, n), "output2": rng.standard_normal((n, 1), dtype=np.float32)}, 64)


def _resblock(K):
    L = K.layers
    i = K.Input(shape=(32, 32, 3))
    x = L.Conv2D(64, 3, padding="same")(i)
    for f in (64, 128):
        s = 1 if f == 64 else 2
        y = L.Conv2D(f, 3, strides=s, padding="same", use_bias=False)(x)
        y = L.Activation("relu")(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(f, 3, padding="same", use_bias=False)(y))
        x = L.Activation("relu")(L.add([y, x if s == 1 else L.Conv2D(f, 1, strides=2, padding="same")(x)]))
    m = K.Model(i, L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    m.compile(optimizer=K.optimizers.SGD(0.01, momentum=0.9), loss=SPARSE, metrics=["accuracy"])
    return m


def _sepnet(K):
    L = K.layers
    i = K.Input(shape=(64, 64, 3))
    x = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(i)))
    for f in (64, 128, 128, 256):
        x = L.Activation("relu")(L.BatchNormalization()(L.SeparableConv2D(f, 3, padding="same", use_bias=False)(x)))
        if f != 64:
            x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    m = K.Model(i, L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    m.compile(optimizer="adam", loss=SPARSE, metrics=["accuracy"])
    return m


def _rows(K):
    """An LSTM that reads a digit row by row."""
    m = K.Sequential([K.Input(shape=(28, 28)), K.layers.LSTM(128), K.layers.Dense(10, activation="softmax")])
    m.compile(optimizer="adam", loss=SPARSE, metrics=["accuracy"])
    return m


def _xception(K):
    m = K.Sequential([
        K.Input(shape=(150, 150, 3)),
        K.applications.Xception(weights=None, include_top=False, pooling="avg", input_shape=(150, 150, 3)),
        K.layers.Dense(10, activation="softmax")])
    m.compile(optimizer="adam", loss=SPARSE)
    return m


def _resnet50(K):
    m = K.applications.ResNet50(weights=None, classes=1000)
    m.compile(optimizer=K.optimizers.SGD(0.01, momentum=0.9), loss=SPARSE)
    return m


def _mobilenetv2(K):
    m = K.applications.MobileNetV2(weights=None, classes=1000)
    m.compile(optimizer=K.optimizers.SGD(0.01, momentum=0.9), loss=SPARSE)
    return m


def _pictures(size, n, batch, classes=10, channels=(3,)):
    def data(rng):
        return rng.standard_normal((n, size, size, *channels), dtype=np.float32), rng.integers(0, classes, n), batch

    return data


WORKLOADS = {
    "mlp": (_mlp, _mlp_data), "cnn": (_cnn, _cnn_data), "qa": (_qa, _qa_data), "posts": (_posts, _posts_data),
    "siamese": (_siamese, _siamese_data), "mixed": (_mixed, _mixed_data), "rows": (_rows, _pictures(28, 1024, 64, channels=())),
    "resblock": (_resblock, _pictures(32, 128, 32)), "sepnet": (_sepnet, _pictures(64, 128, 32)),
    "xception": (_xception, _pictures(150, 16, 8)), "resnet50": (_resnet50, _pictures(224, 16, 8, 1000)),
    "mobilenetv2": (_mobilenetv2, _pictures(224, 16, 8, 1000)),
}
# What a training step must reach: time of the fastest peer / time of fastnn.
GOALS = {"mlp": 3.0, "cnn": 2.5, "qa": 3.0, "posts": 1.75, "siamese": 2.0, "mixed": 2.3, "resblock": 1.8, "sepnet": 3.0, "xception": 1.5}
