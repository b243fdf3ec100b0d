"""What OpenMMLab calls the engine: hooks, optimizers, launching a run."""
