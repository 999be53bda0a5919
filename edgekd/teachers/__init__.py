"""Ways to load a trained teacher: one file each, named as in recipes."""
