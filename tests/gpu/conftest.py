"""Every test of this folder runs within fastnn.device("cuda"), or is skipped."""

import pytest

import fastnn
from fastnn import cuda


@pytest.fixture(autouse=True)
def on_gpu():
    reason = cuda.unavailable_reason()
    if reason:
        pytest.skip(reason)
    with fastnn.device("cuda"):
        yield
        cuda.synchronize()
