"""Problems of more blocks than a grid may have run as several grids, with the same bits: on the emulated device, whose grids
FASTNN_EMU_GRID limits, as CUDA's are limited to 2^31 - 1 blocks."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import ops, scopes

rng = np.random.default_rng(0)


def tensor(*shape):
    return ops.convert_to_tensor(rng.standard_normal(shape).astype("float32"))


def gradients(f, *xs):
    """f(*xs) and its gradients."""
    with fastnn.GradientTape() as tape:
        for x in xs:
            tape.watch(x)
        y = f(*xs)
        total = ops.sum(ops.square(y))
    return [y, *tape.gradient(total, xs)]


PROBLEMS = {
    "sum of columns": lambda: [ops.sum(tensor(7, 40, 33), 1), ops.max(tensor(2, 3000, 40), 1)],
    "argmax": lambda: [ops.argmax(tensor(7, 40, 33), 1), ops.argmin(tensor(70000), 0), ops.argmax(tensor(2, 3000, 40), 1)],
    "elements": lambda: [ops.exp(tensor(5, 1000)), ops.softmax(tensor(200, 30)), tensor(40, 1, 9) + tensor(1, 30, 9)],
    "matmul": lambda: [ops.matmul(tensor(70, 20), tensor(20, 140)), ops.matmul(tensor(9, 33, 10), tensor(9, 10, 12))],
    "split k": lambda: [ops.matmul(tensor(40, 1100), tensor(1100, 40))],
    "rows": lambda: [ops.matmul(tensor(2, 70), tensor(70, 300)), ops.matmul(tensor(300, 70), tensor(70, 1)),
                     ops.matmul(tensor(5, 3, 70), ops.transpose(tensor(5, 40, 70), (0, 2, 1)))],
    "dense": lambda: gradients(lambda x, w, b: ops.relu(ops.matmul(x, w) + b), tensor(200, 9), tensor(9, 70), tensor(70)),
    "conv": lambda: gradients(lambda x, w: ops.conv(x, w, padding="same"), tensor(2, 9, 9, 5), tensor(3, 3, 5, 40)),
    "depthwise": lambda: gradients(lambda x, w: ops.depthwise_conv(x, w, padding="same"), tensor(2, 20, 20, 36), tensor(3, 3, 36, 2)),
}


def run(path):
    with fastnn.device("cuda-emu"):
        np.savez(path, **{f"{name} {i}": np.asarray(y) for name, make in PROBLEMS.items() for i, y in enumerate(make())})


@pytest.mark.skipif(not scopes.library_path("cuda-emu").exists(), reason="cuda-emu was not built")
def test_several_grids_give_the_bits_of_one(tmp_path):
    found = []
    for limit in ("", "3"):
        path = tmp_path / f"results{limit}.npz"
        result = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True,
                                env=dict(os.environ, FASTNN_EMU_GRID=limit))
        assert result.returncode == 0, result.stderr
        found.append(np.load(path))
    assert len(found[0].files) >= 20
    for name in found[0].files:
        np.testing.assert_array_equal(found[0][name].view("int32"), found[1][name].view("int32"), err_msg=name)


if __name__ == "__main__":
    run(sys.argv[1])
