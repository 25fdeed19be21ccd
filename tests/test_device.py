"""Devices: tensors move, ops refuse those of another device, models run where their variables are. On "cuda-emu", the
CUDA kernels run by the CPU, where it was built (-DFASTNN_CUDA_EMU=ON)."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnn
from fastnn import Sequential, cuda, layers, losses, ops, optimizers, scopes

EMU = scopes.library_path("cuda-emu").exists()
needs_emu = pytest.mark.skipif(not EMU, reason="cuda-emu was not built")
rng = np.random.default_rng(0)


def values(*shape):
    return rng.standard_normal(shape).astype("float32")


def test_names_of_devices():
    for name in (None, "cpu", "CPU", "cpu:0", "/device:CPU:0"):
        assert scopes.device(name).name == "cpu"
    for name in ("tpu", "cuda:1", "cuda:x", "", 3):
        with pytest.raises(ValueError, match=r"\[device\] device must be"):
            fastnn.device(name)


def test_without_cuda_the_reason_is_told():
    if cuda.is_available():
        assert cuda.unavailable_reason() is None and cuda.device_count() == 1
        return
    assert cuda.device_count() == 0 and isinstance(cuda.unavailable_reason(), str)
    for use in (lambda: fastnn.device("cuda"), lambda: fastnn.device("gpu:0"), lambda: ops.ones(3).to("cuda"), cuda.synchronize):
        with pytest.raises(ValueError, match=r"\[device\]"):
            use()
    assert cuda.current_stream() == 0
    with pytest.raises(ValueError, match=r"\[device\]"), cuda.stream(0):
        pass


def test_the_cpu_is_no_gpu():
    x = ops.ones(3)
    assert x.to("cpu").device == "cpu" and x.cpu().device == "cpu"
    assert x.__dlpack_device__() == (1, 0) or x.device != "cpu"
    assert not hasattr(x, "__cuda_array_interface__")
    with pytest.raises(ValueError, match=r"\[cuda\] device must be"):
        cuda.memory_stats("cpu")


class OnGpu:
    """An array that says it is in GPU memory."""

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **kwargs):
        raise AssertionError("memory of a GPU must not be taken by a device that cannot read it")

    __cuda_array_interface__ = {"shape": (1,), "typestr": "<f4", "data": (0, True), "version": 3}


def test_memory_of_a_gpu_is_refused_elsewhere():
    with pytest.raises(BufferError, match=r"must be in CPU memory"):
        fastnn.from_dlpack(OnGpu())
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(TypeError, match="needs CuPy"):
            ops.add(OnGpu(), 1)


def test_functions_without_a_kernel_go_to_cupy(monkeypatch):
    """With a stand-in for CuPy: its arrays take NumPy's functions over, and what it lacks is computed by NumPy."""
    import types

    from fastnn.ops import numpy_op

    class Array(np.ndarray):
        pass

    seen = []

    def asarray(t):
        seen.append(t.shape)
        return np.asarray(t).view(Array)

    module = types.SimpleNamespace(ndarray=Array, asarray=asarray, ascontiguousarray=lambda y: np.array(y).view(np.ndarray))
    monkeypatch.setitem(sys.modules, "cupy", module)
    x = values(3, 4)
    t = fastnn.convert_to_tensor(x)
    np.testing.assert_array_equal(numpy_op.on_gpu(np.cumprod, (t, 1), {}, None), np.cumprod(x, 1))
    assert seen == [(3, 4)]
    first, second = numpy_op.on_gpu(lambda a: (a + 1, a.sum()), (t,), {}, "float32")
    np.testing.assert_array_equal(first, x + 1)

    def lacking(a):
        if isinstance(a, Array):
            raise TypeError("no implementation")
        return a * 2

    np.testing.assert_array_equal(numpy_op.on_gpu(lacking, (t,), {}, None), x * 2)
    monkeypatch.setitem(sys.modules, "cupy", None)  # not installed
    np.testing.assert_array_equal(numpy_op.on_gpu(np.cumprod, (t, 1), {}, "float32"), np.cumprod(x, 1))


@needs_emu
class TestTensors:
    def test_scopes_nest(self):
        with fastnn.device("cuda-emu"):
            assert ops.ones(2).device == "cuda-emu"
            with fastnn.device("cpu"):
                assert ops.ones(2).device == "cpu"
            with pytest.raises(RuntimeError, match="mine"), fastnn.device("cpu"):
                raise RuntimeError("mine")
            assert ops.zeros(2).device == "cuda-emu"
            found = []
            thread = threading.Thread(target=lambda: found.append(fastnn._core.current_device()))
            thread.start()
            thread.join()
        assert found == [os.environ.get("FASTNN_DEVICE", "cpu")]

    @pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint32", "float16", "bfloat16", "float32", "float64"])
    def test_values_move(self, dtype):
        with fastnn.device("cpu"):
            x = ops.cast(ops.convert_to_tensor(np.arange(6).reshape(2, 3) % 4), dtype)
            y = x.to("cuda-emu")
            assert (x.device, y.device, y.dtype, y.shape) == ("cpu", "cuda-emu", dtype, (2, 3))
            np.testing.assert_array_equal(np.asarray(y.to("cpu")), np.asarray(x))
            np.testing.assert_array_equal(y.numpy(), x.numpy())
            assert y.tolist() == x.tolist()
            with fastnn.device("cuda-emu"):
                assert y[0, 1:2].cpu().tolist() == x.tolist()[0][1:2]

    def test_empty_and_scalar(self):
        with fastnn.device("cpu"):
            assert ops.zeros((0, 3)).to("cuda-emu").cpu().shape == (0, 3)
            assert ops.convert_to_tensor(2.5).to("cuda-emu").item() == 2.5

    def test_numpy_arrays_are_copied(self):
        x = values(4)
        with fastnn.device("cuda-emu"):
            t = ops.convert_to_tensor(x)
            x[:] = 0
            assert np.abs(np.asarray(t)).min() > 0
            again = np.asarray(t)
            assert not np.shares_memory(again, np.asarray(t)) and not again.flags.writeable

    def test_wrong_device(self):
        with fastnn.device("cpu"):
            here, there = ops.ones(3), ops.ones(3).to("cuda-emu")
            for use in (lambda: ops.add(here, there), lambda: ops.exp(there), lambda: ops.matmul(there, there), lambda: there + 1,
                        lambda: fastnn.Variable(here).assign(there)):
                with pytest.raises(ValueError, match=r"\[device\] a tensor must be on the device in use.*cuda-emu"):
                    use()
        with fastnn.device("cuda-emu"), pytest.raises(ValueError, match=r"tensor.device=cpu, device in use=cuda-emu"):
            ops.exp(here)

    def test_dlpack_copies_both_ways(self):
        torch_like = values(2, 3)
        with fastnn.device("cuda-emu"):
            t = fastnn.from_dlpack(torch_like)
            assert t.device == "cuda-emu"
            np.testing.assert_array_equal(np.from_dlpack(t), torch_like)
            np.testing.assert_array_equal(fastnn.from_dlpack(torch_like.T), torch_like.T)

    def test_functions_without_a_kernel(self):
        x = values(4, 5)
        with fastnn.device("cuda-emu"):
            y = ops.cumprod(ops.convert_to_tensor(x), axis=1)
            assert y.device == "cuda-emu"
            np.testing.assert_allclose(y, np.cumprod(x, 1), rtol=1e-6)

    def test_memory_returns_to_its_baseline(self):
        with fastnn.device("cuda-emu"):
            gc.collect()
            before = cuda.memory_stats("cuda-emu")["in_use"]
            x = ops.convert_to_tensor(values(64, 64))
            w = fastnn.Variable(values(64, 64))
            with fastnn.GradientTape() as tape:
                loss = ops.sum(ops.square(ops.matmul(x, w)))
            g = tape.gradient(loss, w)
            assert cuda.memory_stats("cuda-emu")["in_use"] >= before + 3 * 64 * 64 * 4
            cuda.reset_peak_memory("cuda-emu")
            cuda.synchronize("cuda-emu")
            del x, w, tape, loss, g
            gc.collect()
            after = cuda.memory_stats("cuda-emu")
        assert after["in_use"] == before and after["peak"] >= before

    def test_errors_leave_the_device_usable(self):
        with fastnn.device("cuda-emu"):
            with pytest.raises((IndexError, ValueError)):
                ops.take(ops.ones((3, 2)), ops.convert_to_tensor(np.array([5])), axis=0)
            with pytest.raises(MemoryError):
                ops.zeros((1 << 46,))
            assert float(ops.sum(ops.ones(5))) == 5

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_process_may_use_it(self):
        with fastnn.device("cuda-emu"):
            x = ops.ones(5)
            pid = os.fork()
            if not pid:
                os._exit(0 if float(ops.sum(x)) == 5 else 1)
            assert os.waitpid(pid, 0)[1] == 0

    def test_environment_chooses_it(self):
        script = "import fastnn; print(fastnn.ops.ones(2).device, fastnn._core.current_device())"
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                                env=dict(os.environ, FASTNN_DEVICE="cuda-emu"))
        assert result.stdout.split() == ["cuda-emu", "cuda-emu"], result.stderr


# ---- models ----


def dense():
    return Sequential([layers.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(3)]), (6,)


def cnn():
    return Sequential([layers.Input((8, 8, 2)), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(2),
                       layers.Conv2D(6, 3, padding="same", strides=2), layers.Flatten(), layers.Dense(3)]), (8, 8, 2)


def lstm():
    return Sequential([layers.Input((5, 4)), layers.LSTM(6, return_sequences=True), layers.LSTM(5), layers.Dense(3)]), (5, 4)


def separable():
    return Sequential([layers.Input((8, 8, 3)), layers.SeparableConv2D(6, 3, padding="same"), layers.LayerNormalization(),
                       layers.Activation("relu"), layers.DepthwiseConv2D(3, strides=2), layers.AveragePooling2D(2),
                       layers.GlobalAveragePooling2D(), layers.Dense(3)]), (8, 8, 3)


def trained(make, device, weights=None, steps=10, optimizer="adam", run_eagerly=False):
    """(losses, weights before, weights after, the model) of a training on a device."""
    with fastnn.device(device):
        fastnn.utils.set_random_seed(1)
        model, shape = make()
        if weights is not None:
            model.set_weights(weights)
        first = model.get_weights()
        model.compile(optimizer, losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=run_eagerly)
    data = np.random.default_rng(5)
    x, y = data.standard_normal((24, *shape)).astype("float32"), data.integers(0, 3, 24)
    # Called outside of the scope: it trains where its variables are.
    history = [model.train_on_batch(x[i % 3 * 8:i % 3 * 8 + 8], y[i % 3 * 8:i % 3 * 8 + 8]) for i in range(steps)]
    return np.array(history), first, model.get_weights(), model


@needs_emu
class TestModels:
    @pytest.mark.parametrize("make", [dense, cnn, lstm, separable])
    def test_trains_to_the_losses_of_the_cpu(self, make):
        expected, weights, _, _ = trained(make, "cpu")
        found, _, _, model = trained(make, "cuda-emu", weights)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert found[-3:].mean() < found[:3].mean()
        assert all(v._value.device == "cuda-emu" for v in model.variables)

    def test_replays_steps_with_the_same_bits(self):
        eager, weights, after_eager, _ = trained(dense, "cuda-emu", run_eagerly=True)
        replayed, _, after, model = trained(dense, "cuda-emu", weights)
        assert sum(c.replayed for c in model.captured.values()) > 0
        np.testing.assert_array_equal(replayed, eager)
        for a, b in zip(after, after_eager):
            np.testing.assert_array_equal(a, b)

    def test_entry_points_run_where_the_variables_are(self, tmp_path):
        x, y = values(20, 6), rng.integers(0, 3, 20)
        _, _, _, model = trained(dense, "cuda-emu", steps=1)
        assert fastnn._core.current_device() == os.environ.get("FASTNN_DEVICE", "cpu")
        assert model(x).device == "cuda-emu" and model(x, training=False).device == "cuda-emu"
        expected = model(x).numpy()
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
        np.testing.assert_allclose(model.predict(x, batch_size=7, verbose=0), expected, rtol=1e-5, atol=1e-6)  # other tiles
        np.testing.assert_array_equal(model.predict_on_batch(x), expected)
        assert np.isfinite(model.evaluate(x, y, verbose=0)) and np.isfinite(model.test_on_batch(x, y))
        assert np.isfinite(model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history["val_loss"]).all()
        with fastnn.device("cpu"):
            data = ops.convert_to_tensor(x)
        np.testing.assert_array_equal(model.predict(data, verbose=0), model.predict(x, verbose=0))
        with fastnn.device("cpu"), pytest.raises(ValueError, match="must be on the device in use"):
            model(data)
        model.layers[0].set_weights(model.layers[0].get_weights())

    @pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".safetensors"])
    def test_saves_from_a_device_and_loads_on_another(self, tmp_path, ending):
        _, _, after, model = trained(dense, "cuda-emu", steps=2)
        path = tmp_path / f"model{ending}"
        (model.save if ending == ".keras" else model.save_weights)(path)
        x = values(4, 6)
        expected = model.predict(x, verbose=0)
        with fastnn.device("cpu"):
            there = fastnn.saving.load_model(path) if ending == ".keras" else dense()[0]
            if ending != ".keras":
                there.load_weights(path)
        assert there.weights[0]._value.device == "cpu"
        for a, b in zip(there.get_weights(), after):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(there.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
        model.set_weights([np.zeros_like(w) for w in after])
        if ending != ".keras":
            model.load_weights(path)
            np.testing.assert_array_equal(model.predict(x, verbose=0), expected)

    def test_memory_of_a_trained_model_is_given_back(self):
        trained(dense, "cuda-emu", steps=6)
        gc.collect()
        before = cuda.memory_stats("cuda-emu")["in_use"]
        for _ in range(2):
            trained(dense, "cuda-emu", steps=6)
            gc.collect()
        assert cuda.memory_stats("cuda-emu")["in_use"] == before

    def test_an_optimizer_of_its_own(self):
        with fastnn.device("cuda-emu"):
            v = fastnn.Variable(values(5))
            optimizer = optimizers.SGD(0.5)
            before = v.numpy()
            optimizer.apply([ops.ones(5)], [v])
        np.testing.assert_array_equal(v.numpy(), before - 0.5)
        v.assign(np.zeros(5, "float32"))  # outside of the scope
        assert v._value.device == "cuda-emu" and not v.numpy().any()
