"""The encoder-decoder in torch: tensors and plain arguments in, tensors out; knows no options, vocabularies or files."""
