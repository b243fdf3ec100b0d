"""Supervised networks, the baseline: no t, no noise."""
