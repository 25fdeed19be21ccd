"""The rows of test_wrong_use.py, in the order of the layers they touch."""

SHAPES = [
    ("L.Dense(-1)", "ValueError: units & -1"),
    ("L.Dense(0)", "ValueError: units"),
    ("L.Dense(1.5)", "ValueError|TypeError: units"),
    ("L.Dense(2**40).build((None, 3))", "MemoryError: bytes"),
    ("L.Dense(2**62).build((None, 8))", "OverflowError|ValueError|MemoryError"),
    ("ops.reshape(f32(2, 3), (2**62, 4))", "ValueError"),
    ("ops.reshape(f32(2, 3), (-1, -1))", "ValueError: -1"),
    ("ops.reshape(f32(0, 3), (-1, 0))", "ValueError"),
    ("ops.reshape(f32(2, 3), (4,))", "ValueError: reshape"),
    ("L.Dense(2)(np.float32(1))", "ValueError: dense"),
    ("L.Conv2D(2, 3)(f32(2, 8, 8))", "ValueError: conv2d & ndim"),
    ("L.Conv2D(2, 3)(f32(*[1] * 9))", "ValueError: conv2d"),
    ("K.Input((-1,))", "ValueError"),
    ("K.Input((3.0,))", "ValueError|TypeError"),
    ("K.Input((True,))", "ValueError|TypeError"),
    ("K.Input((np.int64(3),)); assert True", "ok"),
    ("ops.zeros((2**60,))", "MemoryError|ValueError"),
    ("ops.zeros((2, -1))", "ValueError"),
]

MATMUL = [
    ("ops.matmul(f32(2, 3), f32(4, 5))", "ValueError: matmul"),
    ("ops.matmul(f32(2, 2, 3), f32(3, 3, 5))", "ValueError: matmul"),
    ("ops.matmul(np.float32(2), f32(3))", "ValueError: matmul"),
    ("assert np.array_equal(ops.matmul(f32(2, 0), f32(0, 3)), np.zeros((2, 3)))", "ok"),
    ("assert ops.matmul(f32(0, 2), f32(2, 3)).shape == (0, 3)", "ok"),
    ("assert ops.matmul(f32(3), f32(3)).shape == ()", "ok"),
    ("assert ops.matmul(f32(2, 2), f32(2, 2).astype('float64')).dtype == 'float64'", "ok"),
    ("_core.matmul(K.convert_to_tensor(f32(2, 2)), K.convert_to_tensor(f32(2, 2).astype('float64')), None, False, False, 0)",
     "TypeError"),
    ("assert L.Dense(2)(np.arange(6).reshape(2, 3)).dtype == 'float32'", "ok"),
    ("assert L.Dense(2)(np.ones((2, 3), bool)).dtype == 'float32'", "ok"),
    ("L.Dense(2)(np.array([['a', 'b']]))", "TypeError|ValueError"),
    ("L.Dense(2)(np.array([[None, 1]]))", "TypeError|ValueError"),
    ("L.Dense(2)(np.array([['2020-01-01']], 'datetime64[D]'))", "TypeError|ValueError"),
    ("d = L.Dense(2)\nd(f32(2, 3))\nd(f32(2, 4))", "ValueError: dense & 3 & 4"),
    ("K.utils.set_random_seed(1); d = L.Dense(2); d.build((None, 3)); d.set_weights([f32(3, 3), f32(2)])", "ValueError"),
    ("d = L.Dense(2); d.build((None, 3)); d.set_weights([f32(3, 2)])", "ValueError"),
]

CONV = [
    ("ops.conv(f32(1, 8, 8, 3), f32(3, 3, 3, 4), strides=0)", "ValueError: stride"),
    ("ops.conv(f32(1, 8, 8, 3), f32(3, 3, 3, 4), strides=-1)", "ValueError: stride"),
    ("ops.conv(f32(1, 8, 8, 3), f32(3, 3, 3, 4), dilation_rate=0)", "ValueError: dilation"),
    ("ops.conv(f32(1, 8, 8, 3), f32(3, 3, 3, 4), padding='sane')", "ValueError: padding"),
    ("ops.conv(f32(1, 8, 8, 3), f32(3, 3, 2, 4))", "ValueError: conv"),
    ("ops.conv(f32(1, 8, 8, 3), f32(9, 9, 3, 4), padding='valid')", "ValueError: conv"),
    ("ops.conv(f32(1, 8, 8, 3), f32(3, 3, 3, 4), data_format='nhwc')", "ValueError: data_format"),
    ("ops.conv(f32(1, 8, 8, 0), f32(3, 3, 0, 4))", "ValueError"),
    ("ops.conv(f32(1, 8, 8, 3), f32(0, 3, 3, 4))", "ValueError"),
    ("ops.conv(f32(1, 8, 8, 4), f32(3, 3, 3, 4))", "ValueError"),
    ("assert ops.conv(f32(0, 8, 8, 3), f32(3, 3, 3, 4)).shape == (0, 6, 6, 4)", "ok"),
    ("x = K.Variable(f32(0, 8, 8, 3)); w = K.Variable(f32(3, 3, 3, 4))\n"
     "with K.GradientTape() as t:\n    y = ops.sum(ops.conv(x, w))\n"
     "g = t.gradient(y, w); assert g.shape == (3, 3, 3, 4) and not np.any(g)", "ok"),
    ("L.Conv2D(0, 3)", "ValueError: filters"),
    ("L.Conv2D(-1, 3)", "ValueError: filters"),
    ("L.Conv2D(4, 0)", "ValueError: kernel_size"),
    ("L.Conv2D(4, (3, -1))", "ValueError: kernel_size"),
    ("L.Conv2D(4, 3, strides=0)", "ValueError: strides"),
    ("L.Conv2D(4, 3, dilation_rate=0)", "ValueError: dilation"),
    ("L.Conv2D(4, 3, groups=0)", "ValueError: groups"),
    ("L.Conv2D(4, 3, groups=3)", "ValueError: groups"),
    ("L.Conv2D(4, 3, groups=2)(f32(1, 8, 8, 3))", "ValueError: groups"),
    ("assert L.Conv2D(4, 3, strides=2, dilation_rate=2)(f32(1, 9, 9, 3)).shape == (1, 3, 3, 4)", "ok"),
    ("L.Conv2D(4, 3, padding='causal')", "ValueError: causal"),
    ("L.Conv2D(4, 3, data_format='x')", "ValueError: data_format"),
    ("L.Conv2D(4, 3)(f32(1, 2, 2, 3))", "ValueError"),
    ("c = L.Conv2D(4, 3); c(f32(1, 8, 8, 3)); c(f32(1, 8, 8, 2))", "ValueError: conv2d"),
    ("L.DepthwiseConv2D(3, depth_multiplier=0)", "ValueError: depth_multiplier"),
    ("L.DepthwiseConv2D(3, strides=0)", "ValueError: strides"),
    ("L.SeparableConv2D(4, 0)", "ValueError: kernel_size"),
    ("L.Conv2DTranspose(4, 3, strides=0)", "ValueError: strides"),
    ("ops.depthwise_conv(f32(1, 8, 8, 3), f32(3, 3, 2, 1))", "ValueError: depthwise"),
    ("ops.depthwise_conv(f32(1, 8, 8, 3), f32(3, 3, 3, 1), strides=0)", "ValueError: stride"),
    ("assert ops.depthwise_conv(f32(0, 8, 8, 3), f32(3, 3, 3, 2)).shape == (0, 6, 6, 6)", "ok"),
]

POOL = [
    ("ops.max_pool(f32(1, 2, 2, 3), 3)", "ValueError: pool"),
    ("ops.average_pool(f32(1, 2, 2, 3), 3)", "ValueError: pool"),
    ("ops.max_pool(f32(1, 8, 8, 3), 0)", "ValueError: pool"),
    ("ops.max_pool(f32(1, 8, 8, 3), -1)", "ValueError: pool"),
    ("ops.max_pool(f32(1, 8, 8, 3), 2, strides=0)", "ValueError: stride"),
    ("L.MaxPooling2D(0)", "ValueError: pool_size"),
    ("L.MaxPooling2D(2, strides=0)", "ValueError: strides"),
    ("L.AveragePooling2D(2, padding='other')", "ValueError: padding"),
    ("L.MaxPooling2D(2)(f32(8, 8))", "ValueError: max_pooling2d & ndim"),
    ("assert ops.max_pool(f32(0, 8, 8, 3), 2).shape == (0, 4, 4, 3)", "ok"),
    ("assert ops.max_pool(f32(1, 8, 8, 0), 2).shape == (1, 4, 4, 0)", "ok"),
    ("assert np.all(np.asarray(ops.max_pool(np.full((1, 4, 4, 3), -np.inf, 'f'), 2)) == -np.inf)", "ok"),
    ("x = f32(1, 4, 4, 9); x[0, 1, 1, 8] = np.nan; assert np.isnan(np.asarray(ops.max_pool(x, 2))[0, 0, 0, 8])", "ok"),
]

NORMALIZATION = [
    ("L.BatchNormalization(epsilon=0)", "ValueError: epsilon"),
    ("L.BatchNormalization(epsilon=-1)", "ValueError: epsilon"),
    ("L.BatchNormalization(epsilon=float('nan'))", "ValueError: epsilon"),
    ("L.BatchNormalization(momentum=1.5)", "ValueError: momentum"),
    ("L.BatchNormalization(momentum=-0.1)", "ValueError: momentum"),
    ("L.BatchNormalization(axis=5)(f32(2, 3))", "ValueError: axis"),
    ("b = L.BatchNormalization(); b(f32(2, 3)); b.set_weights([f32(4)] * 4)", "ValueError"),
    ("b = L.BatchNormalization(); b(f32(2, 3)); before = b.get_weights()\n"
     "try:\n    b(f32(0, 3), training=True)\nexcept ValueError as e:\n"
     "    assert all(np.array_equal(x, y) for x, y in zip(before, b.get_weights())); raise", "ValueError: batch"),
    ("b = L.BatchNormalization(); b(f32(2, 3)); b(f32(2, 4))", "ValueError: batch_normalization"),
    ("L.LayerNormalization(axis=7)(f32(2, 3))", "ValueError|IndexError"),
    ("assert L.LayerNormalization()(f32(0, 3)).shape == (0, 3)", "ok"),
]

RNN = [
    ("L.LSTM(0)", "ValueError: units"),
    ("L.LSTM(-1)", "ValueError: units"),
    ("L.GRU(0)", "ValueError: units"),
    ("L.SimpleRNN(0)", "ValueError: units"),
    ("L.LSTM(3)(f32(2, 0, 4))", "ValueError"),
    ("L.GRU(3)(f32(2, 0, 4))", "ValueError"),
    ("assert L.LSTM(3)(f32(0, 5, 4)).shape == (0, 3)", "ok"),
    ("l = L.LSTM(3); l(f32(2, 5, 4)); l(f32(2, 5, 6))", "ValueError: lstm"),
    ("L.LSTM(3)(f32(2, 5))", "ValueError: lstm & ndim"),
    ("L.LSTM(3)(f32(2, 5, 4), initial_state=[f32(2, 3)])", "ValueError"),
    ("L.LSTM(3)(f32(2, 5, 4), initial_state=[f32(2, 4), f32(2, 3)])", "ValueError"),
    ("L.LSTM(3)(f32(2, 5, 4), mask=np.ones((2, 4), bool))", "ValueError: mask"),
    ("y = L.LSTM(3)(f32(2, 5, 4), mask=np.zeros((2, 5), bool)); assert not np.any(y)", "ok"),
    ("assert L.GRU(2)(f32(1, 100000, 1)).shape == (1, 2)", "ok"),
    ("assert L.LSTM(3, return_sequences=True)(f32(2, 1, 4)).shape == (2, 1, 3)", "ok"),
    ("L.LSTM(3, dropout=1.5)", "ValueError: dropout"),
    ("L.LSTM(3, activation='nonsense')", "ValueError: nonsense"),
]

EMBEDDING = [
    ("L.Embedding(0, 4)", "ValueError: input_dim"),
    ("L.Embedding(5, 0)", "ValueError: output_dim"),
    ("L.Embedding(5, 4)(np.array([[1, 5]]))", "IndexError: 5"),
    ("L.Embedding(5, 4)(np.array([[1, -1]]))", "IndexError: -1"),
    ("L.Embedding(5, 4)(np.array([[2**31]]))", "IndexError: 2147483648"),
    ("L.Embedding(5, 4)(np.array([[-6]]))", "IndexError: -6"),
    ("assert L.Embedding(5, 4)(np.array([[1.0, 2.0]], 'f')).shape == (1, 2, 4)", "ok"),
    ("L.Embedding(5, 4)(np.array([[1.0, 2.5]], 'f'))", "ValueError|IndexError: 2.5"),
    ("L.Embedding(5, 4)(np.array([[np.nan]], 'f'))", "ValueError|IndexError: nan"),
    ("L.Embedding(5, 4)(np.array([[np.inf]], 'f'))", "ValueError|IndexError: inf"),
    ("assert L.Embedding(5, 4)(np.zeros((0, 3), 'int32')).shape == (0, 3, 4)", "ok"),
    ("ops.take(f32(5, 2), np.array([7]), axis=0)", "IndexError"),
]

LOSSES = [
    ("ops.softmax(f32(2, 3), axis=2)", "ValueError|IndexError: axis"),
    ("assert ops.softmax(f32(2, 0)).shape == (2, 0)", "ok"),
    ("K.losses.SparseCategoricalCrossentropy()(np.array([0, 3]), ops.softmax(f32(2, 3)))", "ValueError: 3"),
    ("K.losses.SparseCategoricalCrossentropy()(np.array([0, -1]), ops.softmax(f32(2, 3)))", "ValueError: -1"),
    ("K.losses.SparseCategoricalCrossentropy()(np.array([0, np.nan]), ops.softmax(f32(2, 3)))", "ValueError"),
    ("K.losses.SparseCategoricalCrossentropy()(np.array([0, 1.5]), ops.softmax(f32(2, 3)))", "ValueError: 1.5"),
    ("K.losses.CategoricalCrossentropy()(f32(2, 3), f32(2, 4))", "ValueError"),
    ("K.losses.MeanSquaredError()(f32(4, 5), f32(4, 1))", "ValueError"),
    ("K.losses.MeanSquaredError()(f32(4), f32(4, 5))", "ValueError"),
    ("assert K.losses.MeanSquaredError()(f32(4), f32(4, 1)).shape == ()", "ok"),
    ("K.losses.get('mean_squarred_error')", "ValueError: mean_squared_error"),
    ("K.metrics.get('acuracy')", "ValueError: acuracy"),
    ("K.losses.MeanSquaredError(reduction='avg')", "ValueError: reduction"),
]

DROPOUT = [
    ("L.Dropout(1.5)", "ValueError: rate"),
    ("L.Dropout(-0.1)", "ValueError: rate"),
    ("L.Dropout(float('nan'))", "ValueError: rate"),
    ("assert not np.any(L.Dropout(1.0)(f32(4, 5), training=True))", "ok"),
    ("L.Dropout(0.5, noise_shape=(3, 1))(f32(4, 5), training=True)", "ValueError: dropout"),
]

FIT = [
    ("model(L.Dense(1)).fit(f32(8, 3), f32(7, 1))", "ValueError: 8 & 7"),
    ("model(L.Dense(1)).fit(f32(0, 3), f32(0, 1))", "ValueError: row"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), batch_size=0)", "ValueError: batch_size"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), batch_size=-1)", "ValueError: batch_size"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), batch_size=1.5)", "ValueError: batch_size"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), batch_size='32')", "ValueError: batch_size"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), epochs=-1)", "ValueError: epochs"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), validation_split=1.0)", "ValueError: validation_split"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), validation_split=-0.1)", "ValueError: validation_split"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), steps_per_epoch=0)", "ValueError: steps_per_epoch"),
    ("y = f32(8, 1); y[5] = np.nan; m = model(L.Dense(1)); m.build((None, 3))\n"
     "unchanged(m, lambda: m.fit(f32(8, 3), y, verbose=0))", "ValueError: y[5, 0] & nan"),
    ("y = f32(8, 1); y[5] = np.nan; model(L.Dense(1)).fit(f32(8, 3), y, verbose=0, check_labels=False)", "ok"),
    ("m = model(L.Dense(3, activation='softmax'), loss='sparse_categorical_crossentropy'); m.build((None, 4))\n"
     "unchanged(m, lambda: m.fit(f32(8, 4), np.full(8, 3), verbose=0))", "ValueError: 3"),
    ("m = model(L.Embedding(5, 2), L.Flatten(), L.Dense(1)); m.build((None, 3))\n"
     "unchanged(m, lambda: m.fit(np.full((8, 3), 9), f32(8, 1), verbose=0))", "IndexError: 9"),
    ("m = model(L.Dense(1)); m.fit(f32(8, 3), f32(8, 1), verbose=0); m.fit(f32(8, 4), f32(8, 1), verbose=0)", "ValueError: 3 & 4"),
    ("m = model(L.Dense(1)); m.predict(f32(0, 3))", "ValueError: row"),
    ("m = model(L.Dense(1)); m.evaluate(f32(4, 3), f32(4, 1), steps=0)", "ValueError: steps"),
    ("K.Sequential([L.Dense(1)]).fit(f32(8, 3), f32(8, 1))", "ValueError: compile()"),
    ("m = K.Sequential([L.Dense(1)]); m.compile('sgd', 'mse', metric=['accuracy'])", "TypeError: did you mean 'metrics'"),
    ("m = K.Sequential([L.Dense(1)]); m.compile('sdg', 'mse')", "ValueError: sdg"),
    ("m = K.Sequential([L.Dense(1)]); m.compile('sgd', 'mee')", "ValueError: mee"),
    ("model(L.Dense(1)).fit([f32(8, 3), f32(8, 3)], f32(8, 1), verbose=0)", "ValueError"),
    ("model(L.Dense(1)).fit(np.array([['a']] * 4), f32(4, 1))", "TypeError"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), class_weight={0: 1}, sample_weight=f32(8))", "ValueError: class_weight"),
    ("model(L.Dense(1)).fit(f32(8, 3), f32(8, 1), sample_weight=f32(5))", "ValueError: 8 & 5"),
    ("def g():\n    if False: yield\nmodel(L.Dense(1)).fit(g(), verbose=0)", "ValueError: batch"),
    ("m = K.Sequential([L.Dense(1)]); m.compile(K.optimizers.RMSprop(lr=0.01), 'mse')\n"
     "assert abs(float(m.optimizer.learning_rate) - 0.01) < 1e-9", "ok"),
    ("m = K.Sequential([L.Dense(4, input_shape=(3,))]); assert m.count_params() == 16", "ok"),
    ("K.optimizers.Adam(learning_rte=0.1)", "TypeError|ValueError: learning_rte"),
    ("K.optimizers.SGD(momentum=-1)", "ValueError: momentum"),
    ("K.Sequential().add(3)", "ValueError|TypeError"),
    ("K.Sequential([K.Input((3,)), L.Add()])", "ValueError"),
    ("a = K.Input((3,)); b = K.Input((3,)); K.Model(a, L.add([a, b]))", "ValueError"),
    ("K.Model(3, 4)", "ValueError|TypeError"),
    ("m = K.Sequential([K.Input((3,)), L.Dense(1)]); m.load_weights('/nowhere/x.safetensors')", "FileNotFoundError|OSError"),
]

LAYOUT = [
    ("x = f32(6, 8)[::-1, ::2]; d = L.Dense(3); assert np.array_equal(d(x), d(np.ascontiguousarray(x)))", "ok"),
    ("x = np.broadcast_to(f32(4), (5, 4)); d = L.Dense(3); assert np.array_equal(d(x), d(x.copy()))", "ok"),
    ("x = np.asfortranarray(f32(6, 8)); d = L.Dense(3); assert np.array_equal(d(x), d(x.copy('C')))", "ok"),
    ("x = f32(6, 8).astype('>f4'); d = L.Dense(3); assert np.array_equal(d(x), d(x.astype('f4')))", "ok"),
    ("x = f32(6, 8); x.setflags(write=False); L.Dense(3)(x)", "ok"),
    ("x = np.frombuffer(bytes(97), 'u1')[1:].view('f4').reshape(4, 6); L.Dense(3)(x)", "ok"),
    ("L.Dense(3)(np.ma.masked_array(f32(2, 3), f32(2, 3) > 0))", "TypeError: mask"),
    ("x = f32(8, 8); m = model(L.Dense(8)); m.fit(x, x, verbose=0)", "ok"),
    ("c = np.zeros(3, 'f').__dlpack__(); _core.from_dlpack(c); _core.from_dlpack(c)", "ValueError: DLPack"),
    ("class Bad:\n    __array_interface__ = {'shape': (2**40,), 'typestr': '<f4', 'data': (0, False), 'version': 3}\n"
     "ops.add(Bad(), 1.0)", "ValueError|TypeError|MemoryError"),
]

ROWS = SHAPES + MATMUL + CONV + POOL + NORMALIZATION + RNN + EMBEDDING + LOSSES + DROPOUT + FIT + LAYOUT
