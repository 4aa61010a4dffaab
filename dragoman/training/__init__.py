"""Training: options and data to weights; knows nothing of HTTP or terminals."""
