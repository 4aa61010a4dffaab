"""Pairs and options that make a model in a second; it learns nothing. One has two source columns."""

PAIRS = "".join(f"source {i} of many\tcible {i} de tant\n" for i in range(40))
TINY = "--max-steps 2 --embedding-size 8 --hidden-size 8 --layers 1 --dev 4 --threads 1 --device cpu".split()
LEMMAS = "".join(f"word{i}\tV;PST\tword{i}ed\n" for i in range(40))
INFLECTING = [*TINY, "--source", "1", "--source", "2", "--target", "3", "--test", "6"]
