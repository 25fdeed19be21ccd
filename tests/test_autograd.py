"""GradientTape: TensorFlow's contract, higher orders, memory, and errors."""
import gc
import threading
import weakref

import numpy as np
import pytest

import fastnn
from check import sized
from fastnn import GradientTape, _core, ops
from fastnn.autograd import custom_gradient, record, stop_gradient
from fastnn.tensor import Variable, as_tensor, convert_to_tensor


def tensor(*values):
    return convert_to_tensor(np.array(values, "f"))


def value(t):
    return np.asarray(t).tolist()


def test_variables_are_watched_and_tensors_when_asked():
    v, x, y = Variable([2.0, 3.0]), tensor(5, 7), tensor(1, 1)
    with GradientTape() as tape:
        tape.watch(x)
        loss = ops.sum(v * x * x + y)
    gv, gx, gy = tape.gradient(loss, [v, x, y])
    assert value(gv) == [25, 49] and value(gx) == [20, 42] and gy is None


def test_structures_of_sources():
    a, b = Variable(2.0), Variable(3.0)
    with GradientTape() as tape:
        loss = a * b
    g = tape.gradient(loss, {"x": a, "y": [b, (a, a)]})
    assert g["x"].item() == 3 and g["y"][0].item() == 2 and g["y"][1][0].item() == 3
    assert isinstance(g["y"], list) and isinstance(g["y"][1], tuple)


def test_targets_are_summed_and_may_be_several():
    x = Variable([1.0, 2.0])
    with GradientTape() as tape:
        y, z = x * 3.0, ops.sum(x * x)
    assert value(tape.gradient([y, z], x)) == [5, 7]


def test_output_gradients():
    x = Variable([1.0, 2.0])
    with GradientTape(persistent=True) as tape:
        y = x * x
    assert value(tape.gradient(y, x, output_gradients=tensor(10, 100))) == [20, 400]
    with pytest.raises(ValueError, match="output_gradients must have the shape"):
        tape.gradient(y, x, output_gradients=tensor(1, 2, 3))


def test_nothing_is_recorded_outside_a_tape():
    v = Variable(2.0)
    y = v * v
    assert y.node is None and _core.recording() == 0
    with GradientTape() as tape:
        pass
    assert tape.gradient(v * v, v) is None


def test_recording_stops_at_the_end_of_the_block_also_after_an_error():
    with pytest.raises(KeyError):
        with GradientTape():
            raise KeyError
    assert _core.recording() == 0


def test_one_gradient_unless_persistent():
    v = Variable(3.0)
    with GradientTape() as tape:
        y = v * v
    assert tape.gradient(y, v).item() == 6
    with pytest.raises(ValueError, match="persistent=True"):
        tape.gradient(y, v)
    with GradientTape(persistent=True) as tape:
        y = v * v
        z = y * v
    assert tape.gradient(y, v).item() == 6
    assert tape.gradient(z, v).item() == 27
    assert tape.gradient(z, y).item() == 3


def test_unconnected():
    a, b = Variable([1.0, 2.0]), Variable(1.0)
    with GradientTape(persistent=True) as tape:
        y = b * 2.0
    assert tape.gradient(y, a) is None
    assert value(tape.gradient(y, a, unconnected_gradients="zero")) == [0, 0]
    with pytest.raises(ValueError, match="unconnected_gradients"):
        tape.gradient(y, a, unconnected_gradients="maybe")


def test_not_trainable_variables_are_watched_by_hand_only():
    v = Variable(3.0, trainable=False)
    with GradientTape() as tape:
        y = v * v
    assert y.node is None and tape.gradient(y, v) is None
    with GradientTape() as tape:
        tape.watch(v)
        y = v * v
    assert tape.gradient(y, v).item() == 6


def test_watch_accessed_variables_false():
    a, b = Variable(2.0), Variable(3.0)
    with GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(b)
        y = a * b
    ga, gb = tape.gradient(y, [a, b])
    assert ga is None and gb.item() == 2
    assert tape.watched_variables() == (b,)


def test_intermediate_values_are_sources():
    v = Variable(2.0)
    with GradientTape() as tape:
        a = v * v
        b = a * a
    ga, gv = tape.gradient(b, [a, v])
    assert ga.item() == 8 and gv.item() == 32


def test_a_tape_does_not_see_what_was_computed_before_it():
    x = Variable(3.0)
    with GradientTape() as outer:
        y = x * x
        with GradientTape() as inner:
            inner.watch(y)
            z = y * x
        gy, gx = inner.gradient(z, [y, x])
    assert gy.item() == 3 and gx.item() == 9  # not through y
    assert outer.gradient(z, x).item() == 27


def test_stop_recording_and_reset():
    v = Variable(3.0)
    with GradientTape() as tape:
        a = v * v
        with tape.stop_recording():
            b = a * 2.0
        c = b * v
    assert tape.gradient(c, v).item() == 18
    with GradientTape() as tape:
        a = v * v
        tape.reset()
        b = a * v
    assert tape.gradient(b, v).item() == 9


@pytest.mark.parametrize("order", [2, 3, 4])
def test_higher_order(order):
    x = Variable(2.0)
    tapes = [GradientTape() for _ in range(order)]
    for t in tapes:
        t.__enter__()
    y = x * x * x * x
    g = y
    for t in reversed(tapes):
        t.__exit__(None, None, None)
        g = t.gradient(g, x)
    assert g.item() == {2: 48, 3: 48, 4: 24}[order]


def test_gradient_inside_its_own_persistent_tape():
    x = Variable(3.0)
    with GradientTape(persistent=True) as tape:
        y = x * x * x
        g = tape.gradient(y, x)
    assert g.item() == 27 and tape.gradient(g, x).item() == 18


def test_stop_gradient():
    x = Variable(3.0)
    with GradientTape() as tape:
        y = x * stop_gradient(x * x)
    assert tape.gradient(y, x).item() == 9


def test_a_tensor_used_twice_and_diamonds():
    x = Variable(2.0)
    with GradientTape() as tape:
        a = x * 3.0
        y = a * a + a
    assert tape.gradient(y, x).item() == 39


def test_ten_thousand_ops_deep():
    x = Variable(1.0)
    with GradientTape() as tape:
        y = x
        for _ in range(10000):
            y = y + x
    assert tape.gradient(y, x).item() == 10001
    del tape, y
    gc.collect()


def test_a_dropped_chain_is_freed_without_recursion():
    x = tensor(1)
    gc.collect()
    before = memory_stats(x)["in_use"]
    with GradientTape() as tape:
        tape.watch(x)
        y = x
        for _ in range(sized(100_000, 5_000)):
            y = y + x
    del tape, y
    gc.collect()
    assert memory_stats(x)["in_use"] == before


def memory_stats(x):
    """Those of the device of x."""
    device = fastnn.convert_to_tensor(x).device
    return fastnn.memory_stats() if device == "cpu" else fastnn.cuda.memory_stats(device)


def test_memory_is_released_while_walking():
    x = Variable(np.ones((256, 256), "f"))
    in_use = lambda: memory_stats(x)["in_use"]  # noqa: E731
    with GradientTape() as tape:
        y = x * 1.0
        for _ in range(20):
            y = y * y
    held = in_use()
    g = tape.gradient(y, x)
    assert in_use() < held - 15 * 256 * 256 * 4
    del g


def test_closures_are_freed_with_the_result():
    x = Variable(1.0)
    kept = tensor(1, 2, 3)
    r = weakref.ref(kept)
    with GradientTape() as tape:
        y = record(as_tensor(x).alias(), (as_tensor(x),), lambda g, kept=kept: (g,))
    tape.gradient(y, x)
    del kept
    gc.collect()
    assert r() is None


def test_values_needed_by_a_gradient_survive_assignment():
    v = Variable(3.0)
    with GradientTape() as tape:
        y = v * v
        v.assign(100.0)
    assert tape.gradient(y, v).item() == 6


def test_numpy_arrays_changed_after_the_op_do_not_change_its_gradient():
    v, a = Variable([1.0, 1.0]), np.array([2, 3], "f")
    with GradientTape() as tape:
        y = ops.sum(v * a)
        a[:] = 50
    assert value(tape.gradient(y, v)) == [2, 3]


def test_custom_gradient():
    @custom_gradient
    def clip(x):
        return x * 1.0, lambda g: g * 0.5

    @custom_gradient
    def two(x, y):
        return (x * y, x + y), lambda ga, gb: (ga, gb * 10.0)

    @custom_gradient
    def keras_style(x):
        def grad(*args, upstream=None):
            return upstream * 7.0

        return x * 1.0, grad

    v, w = Variable(3.0), Variable(4.0)
    with GradientTape(persistent=True) as tape:
        y = clip(v)
        a, b = two(v, w)
        k = keras_style(v)
    assert tape.gradient(y, v).item() == 0.5 and y.item() == 3
    assert [g.item() for g in tape.gradient([a, b], [v, w])] == [1, 10]
    assert tape.gradient(k, v).item() == 7


def test_custom_gradient_with_a_wrong_number_of_gradients():
    @custom_gradient
    def f(x, y):
        return x + y, lambda g: (g,)

    v = Variable(1.0)
    with GradientTape() as tape:
        y = f(v, v)
    with pytest.raises(ValueError, match=r"\[custom_gradient\]"):
        tape.gradient(y, v)


def test_jacobian_and_batch_jacobian():
    x = Variable([1.0, 2.0, 3.0])
    with GradientTape() as tape:
        y = x * x
    np.testing.assert_array_equal(np.asarray(tape.jacobian(y, x)), np.diag([2, 4, 6]))
    x = convert_to_tensor(np.arange(6, dtype="f").reshape(2, 3))
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
    j = np.asarray(tape.batch_jacobian(y, x))
    np.testing.assert_array_equal(j, [np.diag([0, 2, 4]), np.diag([6, 8, 10])])


@pytest.mark.parametrize("bad", [3, "x", None, np.ones(2)])
def test_wrong_sources_and_watch(bad):
    v = Variable(1.0)
    with GradientTape(persistent=True) as tape:
        y = v * v
    with pytest.raises(TypeError, match="sources"):
        tape.gradient(y, [bad])
    with pytest.raises(TypeError, match="watch"):
        tape.watch(bad)


def test_integer_target():
    x = tensor(1)
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.cast(x, "int32")
        y.node = x.node
    with pytest.raises(TypeError, match="floating point"):
        tape.gradient(y, x)


def test_tapes_of_threads_do_not_mix():
    results = {}

    def work(k):
        v = Variable(float(k))
        for _ in range(200):
            with GradientTape() as tape:
                y = v * v * v
            results[k] = tape.gradient(y, v).item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert results == {k: 3.0 * k * k for k in range(1, 5)}


def test_entering_twice():
    tape = GradientTape()
    with tape:
        with pytest.raises(ValueError, match="twice"):
            tape.__enter__()
