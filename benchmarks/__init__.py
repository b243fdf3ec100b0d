"""Measurements: run as `python -m benchmarks.studies.digits`."""
