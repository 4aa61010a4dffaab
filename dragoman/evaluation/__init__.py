"""How good a model is, and what goes on inside it; knows nothing of training."""
