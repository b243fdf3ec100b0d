"""Where a denoiser comes from: one family of models a module."""
