"""From text to outputs and back: what stands between the facade and the search; knows no torch."""
