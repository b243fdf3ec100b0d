"""What distillation is good for."""
