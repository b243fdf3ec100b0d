"""Features that are computed once and drawn from disk."""
