"""Architectures, for students and torch teachers alike: one file each, named as in recipes."""
