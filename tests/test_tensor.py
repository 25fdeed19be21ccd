"""The native Tensor: conversions without copies, layouts, dtypes, scalars, lifetimes."""
import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

import fastnn
from fastnn import _core, dtypes
from fastnn.tensor import Tensor, as_tensor, convert_to_tensor, from_dlpack, from_numpy, to_numpy

NUMPY_DTYPES = [d for d in dtypes.ALLOWED_DTYPES if d != "bfloat16"]


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_every_dtype_keeps_its_values(dtype):
    a = np.array([[0, 1, 2], [3, 100, 1]]).astype(dtype)
    t = convert_to_tensor(a)
    assert t.dtype == dtype and t.shape == (2, 3) and t.ndim == 2 and t.size == 6
    np.testing.assert_array_equal(np.asarray(t), a)
    assert np.asarray(t).dtype == a.dtype
    assert t.nbytes == a.nbytes


def test_bfloat16_is_stored_and_shown():
    import ml_dtypes

    a = np.array([1.5, -2, np.inf, 3.140625], ml_dtypes.bfloat16)
    t = convert_to_tensor(a)
    assert t.dtype == "bfloat16"
    np.testing.assert_array_equal(np.asarray(t), a)
    assert convert_to_tensor(1.5, "bfloat16").item() == 1.5


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 65504.0, 65519.9, 65520.0, 6e-8, 5.9e-8, 2.9e-8, 1e-9, np.inf])
def test_float16_scalars_round_to_nearest_even(value):
    with np.errstate(over="ignore"):
        assert convert_to_tensor(value, "float16").item() == float(np.float16(np.float32(value)))


@pytest.mark.parametrize("dtype,value", [("bool", True), ("int8", -5), ("uint8", 250), ("int64", 2**60),
                                         ("uint64", 2**63 + 1), ("float32", 0.5), ("float64", 1e300)])
def test_scalars(dtype, value):
    t = convert_to_tensor(value, dtype)
    assert t.item() == value and t.shape == () and type(t.item()) is type(value)


def test_python_numbers_take_keras_dtypes():
    assert convert_to_tensor(1).dtype == "int32"
    assert convert_to_tensor(2**40).dtype == "int64"
    assert convert_to_tensor(1.0).dtype == "float32"
    assert convert_to_tensor(True).dtype == "bool"
    assert convert_to_tensor([1.0, 2.0]).dtype == "float32"
    assert convert_to_tensor([1, 2]).dtype == "int32"
    assert convert_to_tensor(np.array([1.0])).dtype == "float64"
    assert convert_to_tensor([np.float32(1), np.float32(2)]).dtype == "float32"


def test_conversion_protocols():
    t = convert_to_tensor(np.arange(3, dtype="f"))
    one = convert_to_tensor([7])
    assert float(one) == 7.0 and int(one) == 7 and bool(one) and [10, 20][convert_to_tensor(1)] == 20
    assert len(t) == 3 and t.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="only a tensor of one element"):
        float(t)
    with pytest.raises(ValueError, match="only a tensor of one element"):
        bool(t)
    with pytest.raises(TypeError):
        [1][convert_to_tensor(0.0)]
    with pytest.raises(TypeError, match="no dimensions"):
        len(convert_to_tensor(1.0))


@pytest.fixture
def on_cpu():
    """What NumPy shares is the memory of CPU tensors."""
    with fastnn.device("cpu"):
        yield


@pytest.mark.usefixtures("on_cpu")
def test_zero_copy_out():
    t = convert_to_tensor(np.arange(6, dtype="f").reshape(2, 3))
    for view in (np.asarray(t), np.from_dlpack(t), np.asarray(memoryview(t)), np.array(t, copy=False)):
        assert view.ctypes.data == t.address and not view.flags.writeable
    assert t.__array_interface__["data"] == (t.address, True)
    copy = np.array(t)
    assert copy.ctypes.data != t.address and copy.flags.writeable
    assert np.asarray(t, dtype="float64").dtype == np.float64


@pytest.mark.usefixtures("on_cpu")
def test_zero_copy_in_by_dlpack():
    a = np.arange(6, dtype="f").reshape(2, 3)
    t = from_dlpack(a)
    assert t.address == a.ctypes.data
    a[0, 0] = 9
    assert np.asarray(t)[0, 0] == 9  # shared, as DLPack says
    del a
    gc.collect()
    assert np.asarray(t)[0, 0] == 9
    strided = np.arange(12, dtype="i4").reshape(3, 4)[::2, ::-2]
    np.testing.assert_array_equal(np.asarray(from_dlpack(strided)), strided)


@pytest.mark.usefixtures("on_cpu")
def test_dlpack_capsules_are_used_once():
    t = convert_to_tensor([1.0, 2.0])
    for kwargs in ({}, {"max_version": (1, 0)}, {"copy": True}):
        capsule = t.__dlpack__(**kwargs)
        shared = _core.from_dlpack(capsule)
        assert (shared.address == t.address) == ("copy" not in kwargs)
        with pytest.raises(ValueError, match="unused"):
            _core.from_dlpack(capsule)
    assert t.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError):
        t.__dlpack__(dl_device=(2, 0))


def test_torch_shares_memory():
    torch = pytest.importorskip("torch", reason="torch is a peer, not a dependency: tested where it is installed")
    a = torch.arange(6, dtype=torch.float32)
    assert from_dlpack(a).address == a.data_ptr()
    t = convert_to_tensor([1.0, 2.0])
    assert torch.from_dlpack(t).data_ptr() == t.address


LAYOUTS = {
    "fortran": lambda a: np.asfortranarray(a),
    "transposed": lambda a: a.T.copy().T,
    "negative strides": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: (lambda b: (b.setflags(write=False), b)[1])(a.copy()),
    "field of a record": lambda a: np.rec.fromarrays([a, a], names="x,y")["x"],
    "subclass": lambda a: a.copy().view(type("Sub", (np.ndarray,), {})),
}


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    b = raw[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


LAYOUTS["misaligned"] = misaligned


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_every_layout_gives_the_numbers_of_its_contiguous_copy(layout, dtype):
    a = np.arange(35, dtype=dtype).reshape(5, 7)
    b = LAYOUTS[layout](a)
    before = b.tobytes()
    for t in (as_tensor(b), convert_to_tensor(b), from_numpy(b, borrow=True)):
        assert t.dtype == dtype
        np.testing.assert_array_equal(np.asarray(t), a)
    assert b.tobytes() == before


def test_broadcast_view_and_zero_dimensions():
    b = np.broadcast_to(np.float32(3), (4, 5))
    np.testing.assert_array_equal(np.asarray(as_tensor(b)), b)
    assert as_tensor(np.float32(2)).shape == () and as_tensor(np.array(2.0, "f")).shape == ()


def test_memory_mapped_file(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10, dtype="f"))
    m = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(np.asarray(as_tensor(m)), np.arange(10))


@pytest.mark.parametrize("bad", ["text", b"bytes", None, np.array(["a"]), np.array([None]), object(), {"a": 1},
                                 np.array(["2020-01-01"], "datetime64[D]"), np.array([1j]),
                                 np.ma.masked_array([1.0, 2.0], [True, False])])
def test_what_cannot_be_a_tensor(bad):
    with pytest.raises(TypeError, match=r"^\[tensor\]"):
        as_tensor(bad)


def test_ragged_list():
    with pytest.raises((ValueError, TypeError), match=r"^\[tensor\]"):
        convert_to_tensor([[1, 2], [3]])


@pytest.mark.usefixtures("on_cpu")
def test_borrowed_memory_is_not_aliased_by_results():
    a = np.arange(4, dtype="f")
    t = as_tensor(a)
    assert t.borrowed and t.address == a.ctypes.data
    r = _core.view(t, (2, 2))
    a[:] = 7
    np.testing.assert_array_equal(np.asarray(r), [[0, 1], [2, 3]])
    assert convert_to_tensor(a).address != a.ctypes.data


def test_a_tape_copies_what_it_keeps():
    a = np.arange(4, dtype="f")
    with fastnn.GradientTape():
        assert as_tensor(a).address != a.ctypes.data


def test_weak_references_and_attributes():
    t = convert_to_tensor([1.0])
    t.anything = 5
    r = weakref.ref(t)
    assert r() is t and t.anything == 5
    del t
    gc.collect()
    assert r() is None


def test_cycles_are_collected():
    t = convert_to_tensor([1.0])
    t.itself = t
    r = weakref.ref(t)
    del t
    gc.collect()
    assert r() is None


def test_input_references_are_released():
    a = np.arange(4, dtype="f")
    before = sys.getrefcount(a)
    as_tensor(a)
    with pytest.raises(ValueError):
        _core.view(as_tensor(a), (3,))
    assert sys.getrefcount(a) == before


@pytest.mark.parametrize("shape,error", [((2**62, 4), ValueError), ((-1,), ValueError), ((2**40,), MemoryError),
                                         ((1,) * 17, ValueError), ((2**48 + 1,), (ValueError, MemoryError)),
                                         ((1.5,), TypeError)])
def test_impossible_sizes(shape, error):
    gc.collect()  # what other tests left would be freed in the middle
    before = fastnn.memory_stats()["in_use"]
    with pytest.raises(error):
        _core.full(shape, 0.0, "float32")
    assert fastnn.memory_stats()["in_use"] == before


def test_empty_with_a_huge_size():
    assert as_tensor(np.empty((0, 2**31, 2**20), "f")).shape == (0, 2**31, 2**20)


@pytest.mark.parametrize("shape,new", [((2, 3), (3, 2)), ((2, 3), (-1,)), ((6,), (2, -1)), ((0, 3), (3, 0)), ((1,), ())])
def test_view(shape, new):
    a = np.arange(int(np.prod(shape)), dtype="f").reshape(shape)
    np.testing.assert_array_equal(np.asarray(_core.view(convert_to_tensor(a), new)), a.reshape(new))


@pytest.mark.parametrize("new", [(4,), (-1, -1), (-2, 3), (5, -1), (0, -1), (2**62, 4)])
def test_view_errors(new):
    with pytest.raises(ValueError, match=r"^\[(reshape|shape)\]"):
        _core.view(convert_to_tensor(np.zeros(6, "f")), new)


def test_variables_never_change_a_value_that_was_read():
    v = fastnn.Variable(np.ones(3, "f"))
    old = v.value
    version = v.version
    v.assign(np.full(3, 2, "f"))
    np.testing.assert_array_equal(np.asarray(old), 1)
    np.testing.assert_array_equal(np.asarray(v.value), 2)
    assert v.version > version
    del old
    address = v._value.address
    v.assign(np.full(3, 3, "f"))
    assert v._value.address == address  # nobody looked: in place
    kept = v.numpy()
    v.assign(np.zeros(3, "f"))
    np.testing.assert_array_equal(kept, 3)


def test_variables_do_not_share_their_first_value():
    """Assigning in place once changed the tensor that a variable was made from."""
    t = fastnn.convert_to_tensor(np.ones(3, "float32"))
    variables = [fastnn.Variable(t)] + [fastnn.Variable(lambda shape, dtype=None: t, shape=(3,)) for _ in range(2)]
    for v in variables:
        v.assign(np.zeros(3, "float32"))
        assert (t.numpy() == 1).all()
    variables[1].assign(np.full(3, 7, "float32"))
    assert (variables[2].numpy() == 0).all()


def test_variable_errors():
    with pytest.raises(ValueError, match="shape"):
        fastnn.Variable(np.ones(3, "f")).assign(np.ones(4, "f"))
    with pytest.raises(ValueError, match="'/'"):
        fastnn.Variable(1.0, name="a/b")
    with pytest.raises(ValueError, match="shape"):
        fastnn.Variable(lambda shape, dtype: np.zeros(shape, dtype))


def test_promotion_is_keras():
    r = fastnn.dtypes.result_type if hasattr(fastnn, "dtypes") else dtypes.result_type
    rows = [("int32", "float32", "float32"), ("int8", "uint8", "int16"), ("uint8", int, "uint8"),
            ("int64", float, "float32"), ("float16", "bfloat16", "float32"), ("bool", int, "int32"),
            ("bool", "uint8", "uint8"), ("float16", "int64", "float16"), ("uint32", "int32", "int64"),
            ("uint64", "int8", "float32"), ("float64", "float32", "float64"), ("bfloat16", float, "bfloat16"),
            (int, float, "float32"), ("int32", "int64", "int64")]
    for a, b, expected in rows:
        assert r(a, b) == r(b, a) == expected, (a, b)


def test_no_tensor_leaks_memory():
    def work():
        for _ in range(200):
            a = convert_to_tensor(np.ones((64, 64), "f"))
            np.asarray(_core.view(a, (4096,)))

    work()
    gc.collect()
    before = fastnn.memory_stats()
    work()
    after = fastnn.memory_stats()
    assert after["in_use"] == before["in_use"] and after["system_calls"] == before["system_calls"]


def test_exit_with_tensors_alive():
    code = ("import numpy as np, fastnn\n"
            "a = np.ones(1000, 'f'); keep = [fastnn.from_dlpack(a), fastnn.tensor.as_tensor(a)]\n"
            "fastnn.cycle = keep; keep.append(fastnn)\n")
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_pickle_and_copy():
    import copy
    import pickle

    t = convert_to_tensor([[1.0, 2.0]])
    for other in (pickle.loads(pickle.dumps(t)), copy.copy(t), copy.deepcopy(t)):
        assert type(other) is Tensor and other.dtype == "float32"
        np.testing.assert_array_equal(to_numpy(other), to_numpy(t))
