"""What studies and speed share."""
