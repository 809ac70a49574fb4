"""Run folders, model files, and models in other libraries' formats."""

from thalweg.artifacts.exports import Export, export
from thalweg.artifacts.model_file import load_model, save_model
from thalweg.artifacts.path_folder import path_summary, save_path
from thalweg.artifacts.run_folder import check_run_folder, run_summary, save_run

__all__ = [
    "Export", "check_run_folder", "export", "load_model", "path_summary", "run_summary", "save_model", "save_path",
    "save_run",
]  # fmt: skip
