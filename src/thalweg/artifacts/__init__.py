"""Run folders and model files."""

from thalweg.artifacts.model_file import load_model, save_model
from thalweg.artifacts.run_folder import check_run_folder, run_summary, save_run

__all__ = ["check_run_folder", "load_model", "run_summary", "save_model", "save_run"]
