"""On a device, a recorded step is replayed as a graph; its numbers are those of the calls one by one, whatever addresses
its arrays have."""
import gc

import numpy as np
import pytest

import fastnn
from fastnn import Variable, layers, ops, scopes

from check import assert_near

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True, params=["cuda-emu", "cuda"])
def device(request):
    if request.param == "cuda" and not fastnn.cuda.is_available():
        pytest.skip(fastnn.cuda.unavailable_reason())
    if request.param == "cuda-emu" and not scopes.library_path("cuda-emu").exists():
        pytest.skip("cuda-emu was not built")
    gc.collect()  # what other tests left would come into the pool in the middle of a step
    fastnn.cuda.empty_cache(request.param)
    with fastnn.device(request.param):
        yield request.param


def tensor(*shape):
    return ops.convert_to_tensor(rng.standard_normal(shape).astype("float32"))


def launches(function):
    return sum(p["graph_launches"] for p in function.capture.programs())


def step(n=6):
    """A captured function of an array that also changes a variable."""
    w = Variable(rng.standard_normal((n, n)).astype("float32"))
    count = Variable(np.zeros((), "float32"))

    def plain(x):
        y = ops.tanh(ops.matmul(x, w)) + 1.0
        count.assign_add(ops.sum(y))
        return ops.sum(ops.square(y), axis=1)

    return plain, fastnn.capture(plain), count


def test_a_step_is_one_graph():
    plain, captured, count = step()
    x = tensor(4, 6)
    expected = plain(x).numpy()
    each = count.numpy()
    count.assign(0.0)
    for k in range(8):
        np.testing.assert_array_equal(captured(x), expected)
        np.testing.assert_allclose(count.numpy(), (k + 1) * each, rtol=1e-6)
    (program,) = captured.capture.programs()
    assert program["graphs"] >= 1 and program["graph_launches"] >= 3
    assert program["graph_launches"] + program["graphs"] < program["runs"]  # one graph, not one for each call


@pytest.mark.parametrize("inputs, graphs", [(1, True), (3, True), (7, False)])
def test_inputs_take_turns(inputs, graphs):
    """Few addresses have graphs of their own; those of many come too seldom."""
    plain, captured, _ = step()
    xs = [tensor(4, 6) for _ in range(inputs)]
    expected = [plain(x).numpy() for x in xs]
    for k in range(4 * inputs + 6):
        np.testing.assert_array_equal(captured(xs[k % inputs]), expected[k % inputs])
    assert (launches(captured) > 0) == graphs


def test_addresses_come_back_when_the_pool_is_full():
    held = [tensor(1 << 18) for _ in range(100)] + [tensor(8) for _ in range(100)]
    del held  # the pool keeps some of it, and no more
    plain, captured, _ = step()
    x = tensor(4, 6)
    for _ in range(12):
        np.testing.assert_array_equal(captured(x), plain(x))
    assert launches(captured) > 0


def test_results_that_are_kept_are_not_overwritten():
    plain, captured, _ = step()
    x = tensor(4, 6)
    expected = plain(x).numpy()
    kept = [captured(x) for _ in range(9)]
    found = [np.array(y) for y in kept]
    del kept
    found += [np.array(captured(x)) for _ in range(9)]
    for y in found:
        np.testing.assert_array_equal(y, expected)
    assert launches(captured) > 0


def test_a_variable_moves_to_other_memory():
    plain, captured, count = step()
    x = tensor(4, 6)
    for _ in range(6):
        captured(x)
    before = launches(captured)
    assert before > 0
    held = []
    for _ in range(3):
        held.append(count.value)  # so the step must not write there
        value = count.numpy()
        captured(x)
        assert count.numpy() != value and held[-1].numpy() == value
    del held
    for _ in range(4):
        np.testing.assert_array_equal(captured(x), plain(x))
    assert launches(captured) > before


def test_graphs_follow_the_precision_of_products():
    plain, captured, _ = step(32)
    x = tensor(32, 32)
    exact = plain(x).numpy()
    try:
        for precision in ("float32", "tf32", "float32", "bf16"):
            fastnn.config.set_matmul_precision(precision)
            expected = plain(x).numpy()
            assert (expected == exact).all() == (precision == "float32")
            for _ in range(6):
                np.testing.assert_array_equal(captured(x), expected)
    finally:
        fastnn.config.set_matmul_precision("float32")
    assert launches(captured) > 0


def test_a_wrong_label_raises_before_anything_is_written():
    fastnn.utils.set_random_seed(1)
    model = fastnn.Sequential([layers.Input((5,), dtype="int64"), layers.Embedding(9, 4), layers.BatchNormalization(),
                               layers.Flatten(), layers.Dense(3)])
    model.compile("adam", fastnn.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = rng.integers(0, 9, (8, 5)), rng.integers(0, 3, 8)
    x[0, 0] = 3  # which is what becomes wrong below
    for _ in range(40):  # until addresses come back
        model.train_on_batch(x, y)
        if any(p["graph_launches"] for p in model.captured["train_step"].programs()):
            break
    (program,) = model.captured["train_step"].programs()
    assert program["graph_launches"] > 0
    names = [name for name, _ in model.captured["train_step"].calls()[0]]
    assert set(names[:names.index("check_indices")]) == {"read_indices"}, names
    before = [w.copy() for w in model.get_weights()]
    runs = program["runs"]
    bad = y.copy()
    bad[3] = 7
    with pytest.raises(ValueError, match=r"classes in \[0, 3\).*y_true\[3\]=7|\[3\]=7 \(row 3\)"):
        model.train_on_batch(x, bad)
    with pytest.raises(IndexError, match=r"\[embedding\]|must be in"):
        model.train_on_batch(np.where(x == 3, 11, x), y)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(model.train_on_batch(x, y))
    assert model.captured["train_step"].programs()[0]["runs"] == runs + 1


def test_graphs_give_their_memory_back(device):
    before = fastnn.cuda.memory_stats(device)["in_use"]
    plain, captured, count = step()
    x = tensor(4, 6)
    for _ in range(8):
        captured(x)
    assert launches(captured) > 0
    del plain, captured, count, x
    gc.collect()
    assert fastnn.cuda.memory_stats(device)["in_use"] == before


def test_recordings_belong_to_the_device_in_use(device):
    """What was recorded on one device is not replayed while another is in use: there the same calls raise, or make other tensors."""
    x = tensor(3, 4)
    doubled, made = fastnn.capture(lambda x: ops.sum(x * 2.0, axis=1)), fastnn.capture(lambda: ops.ones(3) * 2.0)
    for _ in range(5):
        expected = doubled(x).numpy()
        assert made().device == device
    assert doubled.capture.replayed > 0 and made.capture.replayed > 0
    with fastnn.device("cpu"):
        with pytest.raises(ValueError, match=rf"\[device\].*tensor.device={device}, device in use=cpu"):
            doubled(x)
        here = x.to("cpu")
        for _ in range(4):
            assert made().device == "cpu"
            assert_near(doubled(here), expected, 2 * np.abs(here.numpy()).sum(1))
    before = doubled.capture.replayed
    np.testing.assert_array_equal(doubled(x), expected)
    assert doubled.capture.replayed == before + 1 and made().device == device
