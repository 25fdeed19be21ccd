"""Models for the exchange of files between fastnn and Keras: each is written once, for `K` = fastnn or keras.

`CASES[name](K)` returns (compiled model, x, y, custom objects).
"""
import numpy as np

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def _ints(high, *shape, seed=1):
    return np.random.default_rng(seed).integers(0, high, shape)


@case
def dense(K):
    m = K.Sequential([K.Input((6,)), K.layers.Dense(8, activation="relu"), K.layers.Dense(3, activation="softmax")])
    m.compile(K.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return m, _normal(16, 6), _ints(3, 16), {}


@case
def convolutional(K):
    L = K.layers
    m = K.Sequential([
        K.Input((12, 10, 2)), L.Conv2D(4, 3, activation="relu", padding="same"), L.MaxPooling2D(2),
        L.Conv2D(6, (3, 2), strides=2, dilation_rate=1), L.Activation("tanh"), L.Flatten(), L.Dropout(0.0), L.Dense(4)])
    m.compile(K.optimizers.RMSprop(0.003, momentum=0.5),
              K.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return m, _normal(8, 12, 10, 2), _ints(4, 8), {}


@case
def residual(K):
    L = K.layers
    i = K.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", use_bias=False)(i)
    x = L.BatchNormalization()(x)
    y = L.Conv2D(4, 3, padding="same", use_bias=False)(L.ReLU()(x))
    x = L.add([x, L.BatchNormalization(momentum=0.9)(y)])
    x = L.GlobalAveragePooling2D()(L.AveragePooling2D(2)(x))
    m = K.Model(i, L.Dense(2, activation="softmax")(x), name="residual")
    m.compile(K.optimizers.SGD(0.05, momentum=0.9, nesterov=True), "categorical_crossentropy")
    return m, _normal(8, 8, 8, 3), np.eye(2, dtype="float32")[_ints(2, 8)], {}


@case
def several_inputs_and_outputs(K):
    L = K.layers
    a, b = K.Input((5,), name="a"), K.Input((4,), name="b")
    x = L.concatenate([L.Dense(6, activation="gelu")(a), L.Dense(6, activation="selu")(b)])
    m = K.Model({"a": a, "b": b}, {"kind": L.Dense(3, activation="softmax", name="kind")(x), "size": L.Dense(1, name="size")(x)})
    m.compile("adam", {"kind": "sparse_categorical_crossentropy", "size": "mse"}, loss_weights={"kind": 1.0, "size": 0.5},
              metrics={"kind": ["accuracy"], "size": ["mae"]})
    return m, {"a": _normal(8, 5), "b": _normal(8, 4, seed=3)}, {"kind": _ints(3, 8), "size": _normal(8, 1, seed=4)}, {}


@case
def shared_layer(K):
    L = K.layers
    a, b, lstm = K.Input((5, 3)), K.Input((5, 3)), L.LSTM(4)
    m = K.Model([a, b], L.Dense(1, activation="sigmoid")(L.concatenate([lstm(a), lstm(b)], axis=-1)))
    m.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return m, [_normal(8, 5, 3), _normal(8, 5, 3, seed=5)], _ints(2, 8, 1).astype("float32"), {}


@case
def nested(K):
    L = K.layers
    inner = K.Sequential([K.Input((4,)), L.Dense(5, activation="relu"), L.Dense(3)], name="inner")
    i = K.Input((4,))
    tower = K.Model(i, L.LayerNormalization()(inner(i)), name="tower")
    a, b = K.Input((4,)), K.Input((4,))
    m = K.Model([a, b], L.Dense(2)(L.concatenate([tower(a), tower(b)])))
    m.compile(K.optimizers.AdamW(0.01, weight_decay=0.01), K.losses.Huber())
    return m, [_normal(8, 4), _normal(8, 4, seed=6)], _normal(8, 2, seed=7), {}


@case
def masked_text(K):
    L = K.layers
    m = K.Sequential([K.Input((7,), dtype="int32"), L.Embedding(20, 6, mask_zero=True), L.LSTM(5), L.Dense(1)])
    m.compile(K.optimizers.Nadam(0.01), "mae", metrics=[K.metrics.RootMeanSquaredError(name="rmse")])
    return m, _ints(20, 8, 7).astype("int32"), _normal(8, 1), {}


@case
def stacked_recurrence(K):
    L = K.layers
    m = K.Sequential([
        K.Input((None, 3)), L.GRU(4, return_sequences=True), L.GRU(4, return_sequences=True, reset_after=False, go_backwards=True),
        L.TimeDistributed(L.Dense(3, activation="relu")), L.SimpleRNN(3), L.Dense(1)])
    m.compile(K.optimizers.Adamax(0.01), "mse")
    return m, _normal(6, 5, 3), _normal(6, 1), {}


@case
def bidirectional(K):
    L = K.layers
    m = K.Sequential([
        K.Input((6, 3)), L.Bidirectional(L.LSTM(3, return_sequences=True)),
        L.Bidirectional(L.GRU(3), merge_mode="sum"), L.Dense(2)])
    m.compile(K.optimizers.Adagrad(0.05), "mse")
    return m, _normal(6, 6, 3), _normal(6, 2), {}


@case
def separable(K):
    L = K.layers
    m = K.Sequential([
        K.Input((9, 9, 3)), L.SeparableConv2D(6, 3, padding="same", depth_multiplier=2, use_bias=False), L.BatchNormalization(),
        L.ReLU(max_value=6.0), L.DepthwiseConv2D(3, strides=2), L.MaxPooling2D(3, strides=2, padding="same"),
        L.GlobalMaxPooling2D(), L.Dense(2)])
    m.compile(K.optimizers.Adam(0.01, amsgrad=True), "mse")
    return m, _normal(6, 9, 9, 3), _normal(6, 2), {}


@case
def sequence_convolution(K):
    L = K.layers
    m = K.Sequential([
        K.Input((16, 3)), L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="swish"), L.MaxPooling1D(2),
        L.SeparableConv1D(5, 3), L.AveragePooling1D(2), L.GlobalAveragePooling1D(), L.Dense(2)])
    m.compile(K.optimizers.Lion(0.001), "log_cosh")
    return m, _normal(6, 16, 3), _normal(6, 2), {}


def _block(K):
    class Block(K.layers.Layer):
        """Sublayers in attributes, a list, a dict and a list of lists."""

        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.first = K.layers.Dense(units)
            self.steps = [K.layers.Dense(units, activation="tanh"), K.layers.Dense(units)]
            self.named = {"a": K.layers.Dense(units)}
            self.deep = [[K.layers.Dense(units)], [K.layers.Dense(units)]]
            self._last = K.layers.Dense(units)

        def build(self, input_shape):
            self.scale = self.add_weight((self.units,), initializer="ones", name="scale")
            shape = input_shape
            for layer in (self.first, *self.steps, self.named["a"], self.deep[0][0], self.deep[1][0], self._last):
                layer.build(shape)
                shape = (*input_shape[:-1], self.units)

        def call(self, x):
            for layer in (self.first, *self.steps, self.named["a"], self.deep[0][0], self.deep[1][0], self._last):
                x = layer(x)
            return x * self.scale

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    return Block


@case
def custom_layer(K):
    Block = _block(K)
    m = K.Sequential([K.Input((4,)), Block(3), K.layers.Dense(1)])
    m.compile("adam", "mse")
    return m, _normal(8, 4), _normal(8, 1), {"Block": Block}


@case
def xception(K):
    base = K.applications.Xception(weights=None, include_top=False, pooling="avg", input_shape=(71, 71, 3))
    base.trainable = False
    i = K.Input((71, 71, 3))
    m = K.Model(i, K.layers.Dense(2, activation="softmax")(base(i, training=False)))
    m.compile(K.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    return m, _normal(2, 71, 71, 3), _ints(2, 2), {}


@case
def attention(K):
    L = K.layers
    i = K.Input((6, 8))
    x = L.LayerNormalization()(L.add([i, L.MultiHeadAttention(2, 4)(i, i)]))
    x = L.add([x, L.Dense(8)(L.Dense(16, activation="gelu")(x))])
    m = K.Model(i, L.Dense(2)(L.GlobalAveragePooling1D()(L.LayerNormalization(epsilon=1e-6)(x))))
    m.compile(K.optimizers.SGD(0.05), "mse")
    return m, _normal(6, 6, 8), _normal(6, 2), {}


@case
def operations(K):
    i = K.Input((4, 6))
    x = (i + 1.0) * 0.5 - i[:, 1:2]
    x = K.ops.relu(K.ops.reshape(x, (-1, 24)))
    x = K.ops.concatenate([x, K.ops.mean(i, axis=1)], axis=-1)
    m = K.Model(i, K.layers.Dense(2)(x) / 2.0)
    m.compile("sgd", "mse")
    return m, _normal(6, 4, 6), _normal(6, 2), {}


@case
def cells(K):
    L = K.layers
    m = K.Sequential([K.Input((5, 3)), L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True), L.RNN(L.SimpleRNNCell(2)),
                      L.Dense(1)])
    m.compile("rmsprop", "mse")
    return m, _normal(6, 5, 3), _normal(6, 1), {}


@case
def transposed(K):
    L = K.layers
    m = K.Sequential([
        K.Input((8, 8, 1)), L.Conv2D(4, 3, strides=2, padding="same", activation="relu"), L.ZeroPadding2D(1), L.Cropping2D(1),
        L.UpSampling2D(2), L.Conv2DTranspose(3, 3, padding="same"), L.PReLU(shared_axes=[1, 2]), L.LeakyReLU(0.1),
        L.Conv2D(1, 1, activation="sigmoid")])
    m.compile(K.optimizers.Adadelta(1.0), "binary_crossentropy")
    x = _normal(4, 8, 8, 1)
    return m, x, (x > 0).astype("float32"), {}


@case
def regularized(K):
    L = K.layers
    m = K.Sequential([
        K.Input((6,)), L.Dense(5, kernel_regularizer=K.regularizers.L1L2(0.01, 0.02), kernel_constraint=K.constraints.MaxNorm(1.0),
                               kernel_initializer=K.initializers.HeNormal(seed=1), bias_initializer="ones"),
        L.ELU(), L.Reshape((5, 1)), L.Permute((2, 1)), L.Flatten(), L.RepeatVector(2), L.Flatten(), L.Dense(2)])
    schedule = K.optimizers.schedules.ExponentialDecay(0.05, 2, 0.9)
    m.compile(K.optimizers.SGD(schedule, clipnorm=1.0), K.losses.MeanSquaredError(), metrics=["mse"])
    return m, _normal(8, 6), _normal(8, 2), {}


@case
def preprocessing(K):
    L = K.layers
    scale = L.Normalization()
    scale.adapt(3 * _normal(32, 4) + 1)
    m = K.Sequential([K.Input((4,)), scale, L.Rescaling(0.5, offset=0.1), L.Dense(3, activation="softplus"), L.Dense(1)])
    m.compile(K.optimizers.Ftrl(0.05), "mse")
    return m, _normal(8, 4), _normal(8, 1), {}


def _network(K):
    class Network(K.Model):
        """A subclassed model."""

        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.hidden = K.layers.Dense(units, activation="relu")
            self.out = K.layers.Dense(1)

        def build(self, input_shape):
            self.hidden.build(input_shape)
            self.out.build((*input_shape[:-1], self.units))

        def call(self, x):
            return self.out(self.hidden(x))

        def get_config(self):
            return {"units": self.units, "name": self.name}

    return Network


@case
def subclassed(K):
    Network = _network(K)
    m = Network(5)
    m.build((None, 3))
    m.compile("adam", "mse")
    return m, _normal(8, 3), _normal(8, 1), {"Network": Network}


@case
def normalizations(K):
    L = K.layers
    m = K.Sequential([
        K.Input((5, 5, 4)), L.Conv2D(4, 1), L.GroupNormalization(2), L.UnitNormalization(), L.Conv2D(4, 3, use_bias=False),
        L.BatchNormalization(axis=-1, scale=False), L.SpatialDropout2D(0.0), L.Flatten(),
        L.EinsumDense("ab,bc->ac", 3, bias_axes="c"), L.Dense(1)])
    m.compile(K.optimizers.Lamb(0.01), "mse")
    return m, _normal(8, 5, 5, 4), _normal(8, 1), {}
