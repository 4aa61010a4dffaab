"""Choosing an output from a Stepper's probabilities; knows NumPy, but neither torch, ONNX nor text."""
