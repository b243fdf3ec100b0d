"""Weights under the names of other libraries."""
