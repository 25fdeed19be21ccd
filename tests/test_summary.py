"""summary(): rows, counts, connections, options."""
import numpy as np
import pytest

from fastnn import Input, Model, Sequential, ops
from fastnn.layers import Layer
from fastnn.utils import clear_session
from fastnn.utils.summary import readable_size


class Shift(Layer):
    def build(self, input_shape):
        self.b = self.add_weight((input_shape[-1],), initializer="ones", name="b")
        self.fixed = self.add_weight((2,), initializer="ones", trainable=False, name="fixed")

    def call(self, x):
        return ops.add(x, self.b)


def text(model, **options):
    parts = []
    model.summary(print_fn=parts.append, **options)
    return "".join(parts)


def rows(summary):
    """The cells of the table."""
    lines = [line for line in summary.splitlines() if line.startswith("|") and not line.startswith("|--")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def stack():
    return Sequential([Input((1200,)), Shift(name="a"), Shift(name="b")], name="m")


def branches():
    clear_session()
    a, b = Input((3,), name="a"), Input((3,), name="b")
    shared = Shift(name="shared")
    inner = Sequential([Input((3,)), Shift(name="deep")], name="inner")
    return Model([a, b], inner(ops.add(shared(a), shared(b))), name="net")


def test_sequential():
    summary = text(stack())
    assert summary.startswith('Model: "m"\n') and summary.isascii()
    assert rows(summary) == [["Layer (type)", "Output Shape", "Param #"], ["a (Shift)", "(None, 1200)", "1,202"],
                             ["b (Shift)", "(None, 1200)", "1,202"]]
    assert summary.rstrip().splitlines()[-3:] == [
        " Total params: 2,404 (9.39 KB)", " Trainable params: 2,400 (9.38 KB)", " Non-trainable params: 4 (16.00 B)"]


def test_frozen_layers():
    model = stack()
    model.layers[0].trainable = False
    summary = text(model, show_trainable=True)
    assert [row[-1] for row in rows(summary)][-2:] == ["N", "Y"]
    assert " Trainable params: 1,200 " in summary and " Non-trainable params: 1,204 " in summary


def test_connections_of_a_branching_model():
    table = rows(text(branches(), line_length=120))
    assert [row[0] for row in table[1:]] == ["a (InputLayer)", "b (InputLayer)", "shared (Shift)", "add (Add)",
                                             "inner (Sequential)"]
    assert [row[3] for row in table] == ["Connected to", "-", "-", "a[0][0], b[0][0]", "shared[0][0], shared[1][0]",
                                         table[4][0].split()[0] + "[0][0]"]


def test_nested_models_are_expanded():
    summary = text(branches(), expand_nested=True, line_length=120)
    assert "- deep (Shift)" in summary and "- deep" not in text(branches())


def test_a_chain_has_no_connections():
    x = Input((3,), name="x")
    table = rows(text(Model(x, Shift(name="s")(x))))
    assert table[0] == ["Layer (type)", "Output Shape", "Param #"] and table[1][0] == "x (InputLayer)"


def test_not_built():
    class Net(Model):
        def __init__(self):
            super().__init__(name="net")
            self.one = Shift(name="one")

        def call(self, x):
            return self.one(x)

    model = Net()
    assert rows(text(model))[1] == ["one (Shift)", "?", "0 (unbuilt)"]
    model(np.zeros((2, 3)))
    assert rows(text(model))[1] == ["one (Shift)", "(2, 3)", "5"]


def test_options():
    model = stack()
    assert max(map(len, text(model, line_length=100).splitlines())) == 100
    assert [row[0] for row in rows(text(model, layer_range=["b", "b"]))[1:]] == ["b (Shift)"]
    with pytest.raises(ValueError, match="layer_range must match layers"):
        text(model, layer_range=["x", "b"])
    with pytest.raises(ValueError, match="layer_range must be two names"):
        text(model, layer_range=["x"])
    with pytest.raises(ValueError, match="less than 4 characters"):
        text(model, line_length=10)
    with pytest.raises(ValueError, match="positions must have 3 entries"):
        text(model, positions=[0.5, 1.0])


def test_printed_in_a_pipe(capsys):
    stack().summary()
    out = capsys.readouterr().out
    assert "━" in out and "Total params: 2,404" in out and "\x1b" not in out


@pytest.mark.parametrize("size, expected", [(0, "0.00 B"), (1023, "1023.00 B"), (4868, "4.75 KB"), (3 << 20, "3.00 MB")])
def test_readable_size(size, expected):
    assert readable_size(size) == expected


def test_details_show_the_memory_of_replayed_steps():
    import numpy as np

    import fastnn

    model = fastnn.Sequential([fastnn.Input((6,)), fastnn.layers.Dense(5, activation="relu"), fastnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((64, 6), "f"), np.ones((64, 1), "f"), batch_size=8, epochs=1, verbose=0)
    lines = [line for line in text(model, details=True).splitlines() if "Replayed" in line]
    assert len(lines) == 1 and "Replayed train (8, 6), (8, 1):" in lines[0] and "live at once (ratio 1." in lines[0]
    assert "Replayed" not in text(model)
