"""Nested structures."""
from collections import OrderedDict, namedtuple

import pytest

from fastnn import tree

Pair = namedtuple("Pair", ["x", "y"])


@pytest.mark.parametrize("structure, leaves", [
    (3, [3]), (None, [None]), ([], []), ((1, [2, {"b": 4, "a": 3}]), [1, 2, 3, 4]),
    (OrderedDict([("b", 1), ("a", 2)]), [1, 2]), (Pair(1, (2,)), [1, 2]), ({1: "a", "x": "b"}, ["a", "b"]),
])
def test_flatten_and_pack(structure, leaves):
    assert tree.flatten(structure) == leaves
    packed = tree.pack_sequence_as(structure, leaves)
    assert packed == structure and type(packed) is type(structure)


def test_map_structure():
    assert tree.map_structure(lambda a, b: a + b, {"b": 1, "a": (2, [3])}, {"b": 10, "a": (20, [30])}) == {
        "b": 11, "a": (22, [33])}
    assert list(tree.map_structure(abs, {"b": -1, "a": -2})) == ["b", "a"]
    assert tree.map_structure(lambda x: 1, [None, 2], none_is_leaf=False) == [None, 1]
    with pytest.raises(TypeError, match="func must be callable"):
        tree.map_structure(3, [1])
    with pytest.raises(ValueError, match="must have the same nesting"):
        tree.map_structure(max, [1, 2], [1])
    with pytest.raises(ValueError, match="needs at least one structure"):
        tree.map_structure(max)


def test_map_structure_up_to():
    assert tree.map_structure_up_to({"a": 0, "b": [0]}, len, {"a": [1, 2], "b": [(3,)]}) == {"a": 2, "b": [1]}


def test_paths():
    assert tree.flatten_with_path({"b": [1, 2], "a": 3}) == [(("a",), 3), (("b", 0), 1), (("b", 1), 2)]
    tree.assert_same_paths([1, 2], (3, 4))
    with pytest.raises(ValueError, match="must have the same paths"):
        tree.assert_same_paths([1, 2], [1])


@pytest.mark.parametrize("a, b", [([1], (1,)), ([1], 1), ({"a": 1}, {"b": 1}), ([1, [2]], [1, 2])])
def test_structures_that_differ(a, b):
    tree.assert_same_structure(a, a)
    with pytest.raises(ValueError, match="must have the same nesting"):
        tree.assert_same_structure(a, b)


def test_pack_errors():
    with pytest.raises(ValueError, match="has 2 leaves and flat_sequence 1"):
        tree.pack_sequence_as([1, 2], [1])
    with pytest.raises(TypeError, match="must be a list or tuple"):
        tree.pack_sequence_as([1], 3)


def test_shapes_are_leaves():
    assert tree.map_shape_structure(len, {"a": (None, 3), "b": [(1, 2, 3), [4]]}) == {"a": 2, "b": [3, 1]}


def test_lists_to_tuples_and_traverse():
    assert tree.lists_to_tuples([1, {"a": [2]}]) == (1, {"a": (2,)})
    assert tree.traverse(lambda x: 0 if x == [1] else None, [[1], 2]) == [0, 2]
    assert tree.traverse(lambda x: x + 1 if isinstance(x, int) else None, [[1], 2], top_down=False) == [[2], 3]


def test_too_deep():
    x = []
    for _ in range(5000):
        x = [x]
    with pytest.raises(ValueError, match="nested at most"):
        tree.flatten(x)
