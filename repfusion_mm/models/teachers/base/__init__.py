"""A frozen network, looked at up to its deepest tap."""
