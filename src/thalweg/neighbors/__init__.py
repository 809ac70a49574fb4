"""Nearest neighbours: exact search in L1, L2 and cosine distance, and classification by majority vote.

>>> from thalweg.neighbors import choose_k
>>> found = choose_k("digits", max_k=10)
>>> found.k, str(found.test)  # doctest: +SKIP
"""

from thalweg.neighbors.choose import NeighborsResult, choose_k
from thalweg.neighbors.index import NearestNeighbors, Progress
from thalweg.neighbors.metrics import METRICS
from thalweg.neighbors.vote import majority_votes, vote_shares
from thalweg.statistics import Accuracy

__all__ = [
    "METRICS",
    "Accuracy",
    "NearestNeighbors",
    "NeighborsResult",
    "Progress",
    "choose_k",
    "majority_votes",
    "vote_shares",
]
