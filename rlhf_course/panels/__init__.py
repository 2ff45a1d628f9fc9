"""The panels and predictions of each notebook: `nb05.spectra(solve)` is one line of a cell.

A function takes the science that the notebook's cell has written, a generator of records, and
returns the panel around it: controls, figures, read-out, goal.
"""
