"""A training that is interrupted ends as if it had not been."""
