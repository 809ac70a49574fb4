"""Data sets: reading, splitting, preprocessing. Nothing here imports JAX."""

from thalweg.data.dataset import (
    Dataset,
    Skipped,
    Split,
    check_trainable,
    match_channels,
    match_classes,
    match_features,
    obstacles,
)
from thalweg.data.describe import describe, summarize
from thalweg.data.load import load
from thalweg.data.preprocessing import Preprocessing, fit_preprocessing
from thalweg.data.splits import join, split_dataset, stratified

__all__ = [
    "Dataset",
    "Preprocessing",
    "Skipped",
    "Split",
    "check_trainable",
    "describe",
    "fit_preprocessing",
    "join",
    "load",
    "match_channels",
    "match_classes",
    "match_features",
    "obstacles",
    "split_dataset",
    "stratified",
    "summarize",
]
