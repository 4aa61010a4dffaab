"""Translating without PyTorch: graphs built from weights, and an engine that runs them; `engine` never imports torch."""

import os

# ONNX Runtime may report its use to its makers, and leaves a device's number in the home directory, unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
