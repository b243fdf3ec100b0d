"""Denoisers: features z(t) of an image and a time step."""
