"""The data of each of the report's figures, as typed records: NumPy arrays and plain values, no drawing.

They are built from a run (or a path, or a `diagnostics.Case` where examples are needed), drawn for the page by
`report.sections` and for notebooks and papers by `thalweg.plot`.
"""
