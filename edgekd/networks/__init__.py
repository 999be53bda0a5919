"""Architectures, for students and torch teachers alike: one file each, named as in recipes.

Each has one function `build`, which is given `classes` and `input_shape`, `tokens` where it asks for them, and its
options. A network of tokens says so by `takes_tokens = True`: it takes (B, T) whole numbers, as integers or as the
float32 that all samples travel in, and makes the mask of the pad itself; its files take integers.
"""
