"""A replayed step may run fewer calls than the step that was recorded; its numbers are the same."""
import numpy as np
import pytest

import fastnn
from fastnn import Input, Model, layers, ops
from test_capture import IMAGE, LABELS, SERIES, VECTOR, check, images


def net(block, shape):
    def make():
        x = Input(shape)
        y = block(x)
        y = layers.Flatten()(y) if len(y.shape) > 2 else y
        model = Model(x, layers.Dense(3, activation="softmax")(y))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model
    return make


def norm_relu(x):
    y = layers.Conv2D(5, 3, use_bias=False)(x)
    y = layers.BatchNormalization(beta_initializer="ones")(y)
    return layers.Conv2D(4, 3)(layers.Activation("relu")(y))


def norm_relu6(x):
    y = layers.BatchNormalization(gamma_initializer=fastnn.initializers.Constant(5.0), scale=True)(layers.Conv2D(17, 3)(x))
    return layers.Conv2D(4, 3)(layers.ReLU(6)(y))


def norm_plain(x):
    y = layers.BatchNormalization(center=False, scale=False)(layers.Conv2D(16, 3)(x))
    return layers.Conv2D(4, 3)(layers.ReLU()(y))


def residual(x):
    y = layers.Conv2D(6, 3, padding="same")(x)
    z = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(y))
    return layers.Conv2D(4, 3)(layers.Activation("relu")(layers.add([z, y])))


def residual_first(x):
    y = layers.Conv2D(6, 3, padding="same")(x)
    z = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(y))
    s = layers.add([y, z])
    return layers.add([layers.Conv2D(6, 3, padding="same")(s), s])


def projection(x):
    z = layers.BatchNormalization()(layers.Conv2D(70, 3, padding="same")(x))
    return layers.Activation("relu")(layers.add([z, layers.Conv2D(70, 1)(x)]))


def norm_seen_twice(x):
    y = layers.BatchNormalization()(layers.Conv2D(6, 3)(x))
    return layers.concatenate([layers.Activation("relu")(y), y])


def pooled(x):
    y = layers.MaxPooling2D(2)(layers.Conv2D(20, 3, activation="relu")(x))
    return layers.Conv2D(3, 1)(y)


def pooled_overlapping(x):
    y = layers.MaxPooling2D(3, 2, padding="same")(layers.Conv2D(6, 3, activation="relu")(x))
    return layers.Conv2D(3, 1)(y)


def pooled_apart(x):
    y = layers.MaxPooling2D(2, 3)(layers.Conv2D(6, 2, activation="relu")(x))
    return layers.Conv2D(3, 1)(y)


def pooled_activation(x):
    y = layers.Activation("relu")(layers.DepthwiseConv2D(2)(x))
    return layers.Conv2D(3, 1)(layers.MaxPooling2D(3, 1)(y))


def conv_activation(x):
    y = layers.Conv2D(6, 3)(layers.Activation("relu")(layers.Conv2D(5, 3)(x)))
    return layers.Conv2D(3, 1)(layers.Activation("tanh")(y))


def dense_activation(x):
    y = layers.Activation("sigmoid")(layers.Dense(7)(x))
    return layers.Activation("relu")(layers.Dense(9)(y))


def elementwise(x):
    y = layers.Conv2D(90, 3, padding="same")(x)
    return layers.Lambda(lambda t: ops.multiply(ops.exp(ops.negative(ops.square(t))), 0.5) + t * 2.0)(y)


ROWS = {
    "norm_relu": (norm_relu, IMAGE, (), ["unary", "unary_backward"]),
    "norm_relu6": (norm_relu6, IMAGE, (), ["unary", "unary_backward"]),
    "norm_plain": (norm_plain, IMAGE, (), ["unary", "unary_backward"]),
    "residual": (residual, IMAGE, (), ["unary"]),
    "residual_first": (residual_first, IMAGE, (), []),
    "projection": (projection, IMAGE, ["chain"], ["unary"]),
    "norm_seen_twice": (norm_seen_twice, IMAGE, (), []),
    "pooled": (pooled, IMAGE, ["max_pool2d_backward_relu"], ["max_pool2d_backward"]),
    "pooled_overlapping": (pooled_overlapping, IMAGE, ["max_pool2d_backward_relu"], ["max_pool2d_backward"]),
    "pooled_apart": (pooled_apart, IMAGE, ["max_pool2d_backward_relu"], ["max_pool2d_backward"]),
    "pooled_activation": (pooled_activation, IMAGE, ["max_pool2d_backward_relu"], ["max_pool2d_backward", "unary_backward"]),
    "conv_activation": (conv_activation, IMAGE, (), ["unary", "unary_backward"]),
    "dense_activation": (dense_activation, VECTOR, (), ["unary", "unary_backward"]),
    "elementwise": (elementwise, IMAGE, ["chain"], ["unary"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_fused_steps_are_bitwise_the_steps(name):
    block, x, present, absent = ROWS[name]
    model = check(net(block, x.shape[1:]), x, LABELS)
    names = {kernel for kernel, _ in model.captured["train_step"].calls()[-1]}
    assert set(present) <= names and not names & set(absent), names


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_fused_steps_do_not_depend_on_threads(threads):
    from fastnn import _core
    x = images(30, 31, 3)

    def weights(n):
        before = _core.num_threads()
        _core.set_num_threads(n)
        try:
            fastnn.utils.set_random_seed(3)
            model = net(lambda t: pooled_overlapping(norm_relu(t)), x.shape[1:])()
            for _ in range(5):
                model.train_on_batch(x, LABELS)
            return model.get_weights()
        finally:
            _core.set_num_threads(before)
    for a, b in zip(weights(1), weights(threads)):
        np.testing.assert_array_equal(a, b)


FOLDED = {
    "relu": lambda x: layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(7, 3)(x))),
    "bias": lambda x: layers.BatchNormalization(scale=False)(layers.Conv2D(7, 3, bias_initializer="ones")(x)),
    "separable": lambda x: layers.BatchNormalization(center=False)(layers.SeparableConv2D(7, 3, use_bias=False)(x)),
    "groups": lambda x: layers.BatchNormalization()(layers.Conv2D(6, 3, groups=3, use_bias=False)(x)),
    "conv1d": lambda x: layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(5, 3)(layers.Reshape((-1, 3))(x)))),
}


def folds(model):
    return [k for k, _ in model.captured["predict_step"].calls()[-1]].count("fold_batch_norm")


@pytest.mark.parametrize("name", FOLDED)
def test_inference_folds_batch_norm_into_weights_and_follows_their_changes(name):
    fastnn.utils.set_random_seed(1)
    model = net(FOLDED[name], IMAGE.shape[1:])()
    for _ in range(6):
        model.train_on_batch(IMAGE, LABELS)
    for round in range(3):
        for _ in range(4):
            found = model.predict(IMAGE, verbose=0)
        eager = np.asarray(model.layers[-1](_before_last(model, IMAGE)))
        np.testing.assert_allclose(found, eager, rtol=2e-6, atol=1e-6)
        assert folds(model) == 1
        if round == 0:
            model.train_on_batch(IMAGE, LABELS)  # a replayed step changes weights and statistics
        else:
            for v in model.variables:
                if "kernel" in v.path or "moving" in v.path:
                    v.assign(v.numpy() * 1.5)
    with fastnn.profile() as p:
        model.predict(IMAGE, verbose=0)
        model.predict(IMAGE, verbose=0)
    assert [e[0] for e in p.events].count("fold_batch_norm") == 1  # the weights have changed once


def _before_last(model, x):
    y = ops.convert_to_tensor(x)
    for layer in model.layers[1:-1]:
        y = layer(y, training=False) if isinstance(layer, layers.BatchNormalization) else layer(y)
    return y


def test_a_frozen_batch_norm_is_not_folded_into_a_training_step():
    def make():
        x = Input(IMAGE.shape[1:])
        y = FOLDED["relu"](x)
        base = Model(x, y)
        base.trainable = False
        model = Model(x, layers.Dense(3, activation="softmax")(layers.Flatten()(base(x, training=False))))
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model
    model = check(make, IMAGE, LABELS)
    assert "fold_batch_norm" not in {k for k, _ in model.captured["train_step"].calls()[-1]}


def test_calls_whose_results_nobody_reads_are_dropped():
    @fastnn.capture
    def f(x):
        ops.exp(x)
        ops.tanh(ops.sin(x))
        return ops.square(x)

    x = ops.convert_to_tensor(SERIES)
    for _ in range(4):
        y = f(x)
    np.testing.assert_array_equal(y, ops.square(x))
    assert [k for k, _ in f.capture.calls()[0]] == ["unary"]


def test_a_chain_reads_what_stands_before_it_and_keeps_results_that_are_returned():
    @fastnn.capture
    def f(x, y):
        a = ops.add(x, y)
        b = ops.relu(a)
        c = ops.multiply(b, b)
        d = ops.subtract(c, x)
        return d, ops.divide(ops.maximum(d, 0.5), y)

    rng = np.random.default_rng(0)
    x, y = (ops.convert_to_tensor(rng.standard_normal((50, 101)).astype("f")) for _ in range(2))
    for _ in range(4):
        found = f(x, y)
    expected = f.__wrapped__(x, y)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)
    assert [k for k, _ in f.capture.calls()[0]] == ["chain", "chain"]


@pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="kernels of devices rely on arrays that do not overlap")
def test_a_result_takes_the_memory_of_an_operand_that_is_read_no_more():
    @fastnn.capture
    def f(x):
        return ops.softmax(ops.exp(ops.softmax(x)))

    @fastnn.capture
    def g(x):
        a = ops.softmax(x)
        return ops.softmax(ops.add(ops.exp(a), ops.softmax(a)))

    x = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((10, 16)).astype("f"))
    for _ in range(4):
        y, z = f(x), g(x)
    np.testing.assert_array_equal(y, f.__wrapped__(x))
    np.testing.assert_array_equal(z, g.__wrapped__(x))
    assert f.capture.programs()[0]["block_bytes"] == x.nbytes  # one array: exp is written over the first softmax
    assert g.capture.programs()[0]["block_bytes"] <= 3 * x.nbytes


@pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="strips are for the caches of a CPU")
@pytest.mark.parametrize("batch,last", [(128, True), (99, True), (100, False)])
def test_inference_takes_a_few_samples_at_a_time_where_results_are_large(batch, last):
    fastnn.utils.set_random_seed(2)
    x = np.random.default_rng(2).standard_normal((batch, 30, 30, 1)).astype("f")
    model = fastnn.Sequential([fastnn.Input((30, 30, 1)), layers.Conv2D(24, 3, activation="relu"), layers.MaxPooling2D(2),
                               layers.Conv2D(16, 3), layers.MaxPooling2D(3, strides=2, padding="same")]
                              + [layers.Flatten(), layers.Dense(3)] * last)
    found = [model.predict(x, batch_size=batch, verbose=0) for _ in range(4)]
    capture = model.captured["predict_step"]
    assert capture.replayed >= 1
    names = [name for name, _ in capture.calls()[0]]
    assert names.count("conv2d_forward") == names.count("max_pool2d_forward") >= 8
    assert capture.programs()[0]["block_bytes"] < 4 << 20  # a quarter of what the first layer gives
    np.testing.assert_allclose(found[-1], found[0], rtol=1e-5, atol=1e-5)
    model.layers[0].kernel.assign(model.layers[0].kernel * 2.0)
    model.run_eagerly = True
    eager = model.predict(x, batch_size=batch, verbose=0)
    model.run_eagerly = False
    np.testing.assert_allclose(model.predict(x, batch_size=batch, verbose=0), eager, rtol=1e-5, atol=1e-5)


def separable(x):
    """Groups of every kind: normalization, poolings that overlap and do not, depthwise and pointwise convolution."""
    y = layers.Conv2D(24, 3, padding="same", use_bias=False)(x)
    for filters, strides in ((40, 1), (32, 2)):
        y = layers.ReLU(6)(layers.BatchNormalization()(y))
        y = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(y)
        y = layers.Activation("relu")(layers.BatchNormalization(scale=False)(y))
        y = layers.MaxPooling2D(3 if strides == 1 else 2, strides, padding="same")(y)
        y = layers.SeparableConv2D(filters, 5, padding="same", depth_multiplier=1)(y)
    return layers.GlobalAveragePooling2D()(layers.Activation("relu")(layers.BatchNormalization()(y)))


@pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="strips are for the caches of a CPU")
@pytest.mark.parametrize("batch", [32, 37])
def test_training_takes_strips_of_samples_through_groups_of_calls_with_the_same_bits(batch):
    x = np.random.default_rng(3).standard_normal((batch, 32, 32, 3)).astype("f")
    labels = np.arange(batch) % 3

    def trained(eagerly, threads):
        before = fastnn.num_threads()
        fastnn.set_num_threads(threads)
        try:
            fastnn.utils.set_random_seed(2)
            model = net(separable, (32, 32, 3))()
            model.run_eagerly = eagerly
            model.fit(x, labels, batch_size=batch, epochs=5, verbose=0)
        finally:
            fastnn.set_num_threads(before)
        return model

    eager = trained(True, 2).get_weights()
    for threads in (1, 2, 3, 4):
        model = trained(False, threads)
        capture = next(c for name, c in model.captured.items() if "train" in name)
        assert capture.replayed >= 2
        names = [name for name, _ in capture.calls()[0]]
        for kernel in ("batch_norm_inference", "batch_norm_gradient", "depthwise_conv2d_forward", "depthwise_conv2d_backward_input",
                       "conv2d_forward", "conv2d_backward_input", "max_pool2d_forward", "conv2d_backward_weights",
                       "depthwise_conv2d_backward_weights", "batch_norm_chunks", "batch_norm_gradient_chunks"):
            assert names.count(kernel) >= 8, kernel
        for a, b in zip(eager, model.get_weights()):
            np.testing.assert_array_equal(a, b)
    with fastnn.profile() as p:
        model.fit(x, labels, batch_size=batch, epochs=1, verbose=0)
    rows = {row["name"]: row for row in p.by_kernel()}
    assert rows["batch_norm_inference"]["gbs"] > 0
    # Four, two and four of the model, and those whose results are made again where gradients read them.
    for kernel, calls in (("batch_norm_inference", 4), ("max_pool2d_backward", 2), ("depthwise_conv2d_forward", 4)):
        assert rows[kernel]["calls"] > calls, kernel


def norms_of_norms(y, conv):
    """Norms that end a group of calls, and what reads their results together with what the group makes."""
    a = layers.Activation("relu")(layers.BatchNormalization()(y))
    b = layers.BatchNormalization()(a)
    return conv(layers.Add()([layers.BatchNormalization()(b), a]))


def frozen_norms_of_norms(y, conv):
    a = layers.Activation("relu")(layers.BatchNormalization()(y))
    b = layers.BatchNormalization()(a)
    return conv(layers.Add()([layers.BatchNormalization(trainable=False)(b), a]))


def pointwise(y, conv):
    """Products of 32 to 32 channels, which take a strip of few rows another way than a whole batch."""
    for _ in range(4):
        y = layers.Conv2D(32, 1, use_bias=False)(layers.Activation("relu")(layers.BatchNormalization(trainable=False)(y)))
    return y


@pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="strips are for the caches of a CPU")
@pytest.mark.parametrize("body,batch,size", [(norms_of_norms, 48, (32, 32)), (frozen_norms_of_norms, 48, (32, 32)),
                                             (pointwise, 23, (12, 16)), (pointwise, 40, (12, 16))])
def test_what_a_group_makes_after_its_strips_is_not_read_in_them(body, batch, size):
    x = np.random.default_rng(3).standard_normal((batch, *size, 3)).astype("f")

    def trained(eagerly):
        fastnn.utils.set_random_seed(1)
        inputs = fastnn.Input((*size, 3))
        y = layers.Conv2D(32, 3, padding="same", use_bias=False)(inputs)
        y = layers.GlobalAveragePooling2D()(body(y, layers.Conv2D(32, 3, padding="same")))
        model = fastnn.Model(inputs, layers.Dense(3, activation="softmax")(y))
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=eagerly)
        model.fit(x, np.arange(batch) % 3, batch_size=batch, epochs=6, verbose=0)
        return model

    before = fastnn.num_threads()
    try:
        fastnn.set_num_threads(2)
        eager = trained(True).get_weights()
        for threads in (2, 8):
            fastnn.set_num_threads(threads)
            model = trained(False)
            assert next(c for name, c in model.captured.items() if "train" in name).replayed >= 2
            for a, b in zip(eager, model.get_weights()):
                np.testing.assert_array_equal(a, b)
    finally:
        fastnn.set_num_threads(before)


@pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="devices pad as they are told")
@pytest.mark.parametrize("kernel,strides,pads,dilation", [(3, 2, ((0, 1), (0, 1)), 1), (5, 2, ((1, 2), (2, 2)), 1), (3, 1, ((1, 1), (2, 2)), 2),
                                                          (3, 1, ((0, 2), (2, 1)), 1), (7, 2, ((0, 3), (2, 3)), 1)])
@pytest.mark.parametrize("batch,channels", [(1, 24), (6, 24), (6, 70)])
def test_a_border_of_zeros_is_left_to_the_depthwise_convolution_with_the_same_bits(kernel, strides, pads, dilation, batch, channels):
    def padded(x):
        y = layers.Conv2D(channels, 1)(x)
        y = layers.DepthwiseConv2D(kernel, strides, dilation_rate=dilation)(layers.ZeroPadding2D(pads)(y))
        return layers.Conv2D(4, 1)(y)

    x = np.random.default_rng(4).standard_normal((batch, 13, 10, 3)).astype("f")
    labels = np.arange(batch) % 3

    def trained(eagerly):
        fastnn.utils.set_random_seed(2)
        model = net(lambda x: layers.GlobalAveragePooling2D()(padded(x)), (13, 10, 3))()
        model.run_eagerly = eagerly
        model.fit(x, labels, batch_size=batch, epochs=6, verbose=0)
        return model, model.predict(x, batch_size=batch, verbose=0)

    (eager, y), (model, z) = trained(True), trained(False)
    capture = next(c for name, c in model.captured.items() if "train" in name)
    names = [label for name, label in capture.calls()[0] if name == "copy"]
    assert capture.replayed >= 2 and not any("padding" in label for label in names)
    for a, b in zip(eager.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(y, z)


@pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="devices pad as they are told")
@pytest.mark.parametrize("border", [
    lambda x: ops.pad(x, ((0, 0), (4, 1), (1, 1), (0, 0))),                      # windows that see nothing of the image
    lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0),
    lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0))),
    lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"),
])
def test_other_borders_give_the_same_bits(border):
    w = ops.convert_to_tensor(np.random.default_rng(1).standard_normal((3, 3, 20, 1)).astype("f"))

    @fastnn.capture
    def f(x):
        with fastnn.GradientTape() as tape:
            tape.watch(x)
            y = ops.depthwise_conv(border(x), w, 1, "valid")
        return y, tape.gradient(y, x)

    x = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((3, 8, 9, 20)).astype("f"))
    for _ in range(4):
        found = f(x)
    assert f.capture.replayed
    for a, b in zip(found, f.__wrapped__(x)):
        np.testing.assert_array_equal(a, b)
