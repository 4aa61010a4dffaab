"""Translating without PyTorch: graphs built from weights, and an engine that runs them; `engine` never imports torch."""
