"""Checkpoints of guided-diffusion."""
