"""Memory, streams and the exchange with CuPy and torch, on a GPU."""

import gc

import numpy as np
import pytest

import fastnn
from fastnn import cuda, ops


def test_memory_returns_to_its_baseline():
    gc.collect()
    before = cuda.memory_stats()["in_use"]
    x = ops.matmul(ops.ones((512, 512)), ops.ones((512, 512)))
    assert float(x[0, 0]) == 512
    del x
    gc.collect()
    assert cuda.memory_stats()["in_use"] == before


def test_out_of_memory_is_an_error_and_the_context_lives_on():
    with pytest.raises(MemoryError):
        ops.zeros((1 << 44,))
    assert float(ops.sum(ops.ones(7))) == 7


def test_cupy_shares_memory():
    cupy = pytest.importorskip("cupy")
    x = ops.convert_to_tensor(np.arange(6, dtype="float32"))
    there = cupy.asarray(x)
    assert there.data.ptr == x.__cuda_array_interface__["data"][0] and cupy.asnumpy(there).tolist() == x.tolist()
    assert ops.add(cupy.arange(3, dtype="float32"), 1).tolist() == [1, 2, 3]
    assert ops.add(cupy.arange(6, dtype="float32").reshape(2, 3).T, 0).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert fastnn.from_dlpack(there).__cuda_array_interface__["data"][0] == there.data.ptr
    with fastnn.device("cpu"):
        assert ops.add(cupy.arange(3, dtype="float32"), 1).tolist() == [1, 2, 3]


def test_managed_memory_is_shared():
    cupy = pytest.importorskip("cupy")
    with cupy.cuda.using_allocator(cupy.cuda.malloc_managed):
        x = cupy.arange(6, dtype="float32")
    assert fastnn.from_dlpack(x).tolist() == [0, 1, 2, 3, 4, 5]


def test_arrays_cross_the_ends_of_a_stream():
    """What is made in one stream is used and freed in another one, in the order of the program."""
    cupy = pytest.importorskip("cupy")
    for _ in range(20):
        x = ops.ones((1 << 22,)) * 2.0
        stream = cupy.cuda.Stream(non_blocking=True)
        with cuda.stream(stream):
            y = x * 3.0
        del x
        z = y + ops.zeros((1 << 22,))
        del y
        assert float(ops.min(z)) == 6 and float(ops.max(z)) == 6


def test_streams_of_cupy():
    cupy = pytest.importorskip("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, cuda.stream(stream):
        assert cuda.current_stream() == stream.ptr
        y = ops.exp(ops.zeros(1000))
        assert float(ops.sum(y)) == 1000
    assert cuda.current_stream() == 0


def test_torch_shares_memory():
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0, device="cuda")
    assert ops.add(x, 1).tolist() == [1, 2, 3, 4, 5, 6]
    assert torch.from_dlpack(ops.ones(3)).sum().item() == 3


def test_a_function_without_a_kernel_stays_on_the_gpu():
    pytest.importorskip("cupy")
    y = ops.cumprod(ops.convert_to_tensor(np.arange(1, 5, dtype="float32")))
    assert y.device == "cuda" and y.tolist() == [1, 2, 6, 24]
