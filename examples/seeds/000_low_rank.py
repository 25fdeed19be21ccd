"""The rank of a matrix, and the two thin factors that hold all there is in it.

From a notebook on deep-learning architectures.
"""

import numpy as np

import fastnn as keras

ops = keras.ops

# "The rank of a matrix": every row is a multiple of the first
matrix = np.array([[1, 4, 3], [2, 8, 6], [3, 12, 9]])
rank = int(ops.matrix_rank(matrix))
print("rank:", rank)
assert rank == 1

# A matrix of rank r is the product of a tall and a wide one
u, s, vh = ops.svd(matrix, full_matrices=False)
tall, wide = u[:, :rank] * s[:rank], vh[:rank]
np.testing.assert_allclose(ops.matmul(tall, wide), matrix, rtol=1e-5)
print(f"values: {matrix.size} as a matrix, {tall.size + wide.size} as a product of rank {rank}")
