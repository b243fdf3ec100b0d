"""Arguments of configs: what a class says it takes, and what it is given."""
