"""Sparse features on the device: compressed rows at rest, dense only the minibatch that is read."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.data.checks import check_memory

__all__ = ["SparseRows", "longest"]


def longest(matrix: Any) -> int:
    """Return the entries of a CSR matrix's longest row, rounded up to a power of two."""
    most = max(1, int(np.diff(matrix.indptr).max(initial=0)))
    return 1 << (most - 1).bit_length()


class SparseRows(eqx.Module):
    """Rows of a sparse matrix, each as its columns and values, filled up with zeros to the longest row.

    It stands where the features' array (N, D) would: ``rows[index]`` is the dense
    float32 block (B, D) of those rows, formed inside the compiled program. What
    lies in memory is 8 bytes an entry of the longest row for each row, so one
    very long row makes all as long; the length is rounded up to a power of two, so that
    few sizes are compiled.
    """

    columns: Any  # (N, K) int32
    values: Any  # (N, K) float32; 0 where a row is shorter than K
    width: int = eqx.field(static=True)

    @classmethod
    def of(cls, matrix: Any) -> SparseRows:
        """Take a SciPy matrix in compressed rows (CSR); entries that stand twice are added up.

        Raises a DataError where the rows, all as long as the longest, exceed the memory.
        """
        count, width = matrix.shape
        lengths, most = np.diff(matrix.indptr), longest(matrix)
        check_memory(
            f"X: {count:,} sparse rows, all taking the {most:,} entries of the longest",
            8 * count * most,
            "leave the longest rows out, or the features that they alone have",
        )
        row = np.repeat(np.arange(count), lengths)
        place = np.arange(len(matrix.indices)) - np.repeat(matrix.indptr[:-1].astype(np.int64), lengths)
        columns, values = np.zeros((count, most), np.int32), np.zeros((count, most), np.float32)
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
