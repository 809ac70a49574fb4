"""Sparse features on the device: compressed rows at rest, dense only the minibatch that is read."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["SparseRows"]


class SparseRows(eqx.Module):
    """Rows of a sparse matrix, each as its columns and values, filled up with zeros to the longest row.

    It stands where the features' array (N, D) would: ``rows[index]`` is the dense
    float32 block (B, D) of those rows, formed inside the compiled program. What
    lies in memory is 8 bytes an entry of the longest row for each row, so one
    very long row makes all as long: `of` leaves it to the caller to compare.
    """

    columns: Any  # (N, K) int32
    values: Any  # (N, K) float32; 0 where a row is shorter than K
    width: int = eqx.field(static=True)

    @classmethod
    def of(cls, matrix: Any) -> SparseRows:
        """Take a SciPy matrix in compressed rows (CSR); entries that stand twice are added up."""
        count, width = matrix.shape
        lengths = np.diff(matrix.indptr)
        longest = max(1, int(lengths.max(initial=0)))
        row = np.repeat(np.arange(count), lengths)
        place = np.arange(len(matrix.indices)) - np.repeat(matrix.indptr[:-1].astype(np.int64), lengths)
        columns, values = np.zeros((count, longest), np.int32), np.zeros((count, longest), np.float32)
        columns[row, place] = matrix.indices
        values[row, place] = matrix.data
        return cls(jnp.asarray(columns), jnp.asarray(values), width)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D), as of the dense matrix."""
        return self.columns.shape[0], self.width

    def __getitem__(self, rows: Any) -> jax.Array:
        columns, values = self.columns[rows], self.values[rows]
        count = columns.shape[0]
        dense = jnp.zeros((count, self.width), jnp.float32)
        return dense.at[jnp.arange(count)[:, None], columns].add(values)
