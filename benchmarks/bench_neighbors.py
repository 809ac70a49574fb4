"""Bar: exact nearest neighbours of CIFAR-10's images, beside scikit-learn's brute force and faiss's flat index.

python benchmarks/bench_neighbors.py speed      seconds to search 50,000 images of 3,072 bytes
python benchmarks/bench_neighbors.py accuracy   k chosen on validation, test scored once; and one neighbour

Needs faiss-cpu, which only this benchmark uses. The peers take float32 and get their copy outside of the clock.
scikit-learn's L1 takes minutes, so it searches fewer images; all times are scaled to 10,000. Peers take turns with
ours, and a ratio is that of one turn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from common import cifar10, spread, table
from thalweg.data import Dataset
from thalweg.neighbors import Accuracy, NearestNeighbors, choose_k

QUERIES = 10_000
PEERS = {"l1": "manhattan", "l2": "euclidean", "cosine": "cosine"}


def flat(features: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(features.reshape(len(features), -1))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def faiss_index(metric: str, rows: np.ndarray) -> Any:
    """faiss's exact index; its inner product of normalised rows is the cosine, and its L1 is a plain loop."""
    kind = {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2, "cosine": faiss.METRIC_INNER_PRODUCT}[metric]
    index = faiss.IndexFlat(rows.shape[1], kind)
    index.add(unit(rows) if metric == "cosine" else rows)
    return index


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def speed(metric: str, k: int, own: int, peer: int, repeats: int, data: Dataset) -> list[Any]:
    """One row: ours on ``own`` queries, peers on ``peer``."""
    train, test = flat(data.train.features), flat(data.test.features)
    train32, test32 = train.astype(np.float32), test.astype(np.float32)
    taken, index = timed(lambda: NearestNeighbors(metric).fit(train))
    warm, _ = timed(lambda: NearestNeighbors(metric).fit(train))  # without imports and compiling
    classifier = KNeighborsClassifier(k, metric=PEERS[metric], algorithm="brute").fit(train32, data.train.labels)
    others = faiss_index(metric, train32)
    queries = unit(test32) if metric == "cosine" else test32
    index.search(test[:own], k)
    classifier.kneighbors(test32[:8])
    others.search(queries[:256], k)
    times: dict[str, list[float]] = {"ours": [], "scikit-learn": [], "faiss": []}
    for turn in range(repeats):
        part = slice(turn * own, (turn + 1) * own)
        few = slice(turn * own, turn * own + peer)
        seconds, (_, numbers) = timed(lambda part=part: index.search(test[part], k))
        times["ours"].append(seconds * QUERIES / own)
        seconds, theirs = timed(lambda few=few: classifier.kneighbors(test32[few]))
        times["scikit-learn"].append(seconds * QUERIES / peer)
        seconds, _ = timed(lambda few=few: others.search(queries[few], k))
        times["faiss"].append(seconds * QUERIES / peer)
        agree = float(np.mean(np.sort(numbers[:peer]) == np.sort(theirs[1])))
    peers = [np.array(times["ours"]), *(np.array(times[name]) for name in ("scikit-learn", "faiss"))]
    ratio = np.minimum(peers[1], peers[2]) / peers[0]
    with_fit = np.minimum(peers[1], peers[2]) / (peers[0] + warm)
    return [metric, k, f"{own} / {peer}", f"{taken:.1f}, again {warm:.1f}", *(spread(one) for one in peers),
            spread(peers[1] / peers[0]), spread(ratio), spread(with_fit), f"{agree:.4%}"]  # fmt: skip


# metric, k, queries of ours and of the peers a turn, turns
CASES = [("l2", 1, 2000, 1000, 3), ("l2", 100, 2000, 1000, 3), ("l1", 1, 2000, 100, 3), ("l1", 100, 2000, 100, 3),
         ("cosine", 10, 2000, 1000, 3)]  # fmt: skip
HEAD = ["metric", "k", "queries a turn, ours / peers", "fit, s", "ours, s", "scikit-learn, s", "faiss, s",
        "scikit-learn / ours", "faster peer / ours", "the same with our fit", "same as scikit-learn"]  # fmt: skip


def speeds(data: Dataset) -> None:
    rows = []
    for case in CASES:
        rows.append(speed(*case, data))
        table("CIFAR-10: 10,000 queries of 50,000 images of 3,072 bytes", HEAD, rows, "neighbors")


def accuracy(data: Dataset) -> None:
    rows = []
    for metric in ("l2", "l1"):
        numbers = NearestNeighbors(metric).fit(data.train.features).search(data.test.features, 1)[1]
        right = data.train.labels[numbers[:, 0]] == data.test.labels
        rows.append([metric, "1 (given)", "", said(Accuracy(int(right.sum()), len(right)))])
    for metric in ("l2", "l1", "cosine"):
        seconds, found = timed(lambda metric=metric: choose_k(data, metric=metric))
        rows.append([metric, f"{found.k} (chosen in {seconds:.0f} s)", said(found.validation), said(found.test)])
    head = ["metric", "k", "validation (95 % interval)", "test (95 % interval)"]
    table("CIFAR-10, nearest neighbours of raw pixels: 45,000 + 5,000 + 10,000 images", head, rows,
          "neighbors_accuracy")  # fmt: skip


def said(one: Accuracy) -> str:
    low, high = one.interval
    return f"{one.accuracy:.2%} ({low:.2%}–{high:.2%})"


if __name__ == "__main__":
    jobs = {"accuracy": accuracy, "speed": speeds}
    loaded = cifar10()
    for name in sys.argv[1:] or jobs:
        jobs[name](loaded)
