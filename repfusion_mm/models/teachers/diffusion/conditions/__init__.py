"""What a conditional denoiser is told that it sees."""
