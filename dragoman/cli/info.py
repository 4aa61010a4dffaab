"""`dragoman info`: what a model is, from its directory alone."""
