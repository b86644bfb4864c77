"""Results for other programs: :mod:`~modecomb_viz.export.tables` and :mod:`~modecomb_viz.export.pictures`.

The two are imported apart, so that a table needs no drawing library.
"""
