"""What cannot be done, said before anything is."""


class PlanError(ValueError):
    """Names the option, what was given, and what would have been right."""
