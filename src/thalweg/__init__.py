"""Thalweg: the way down."""
