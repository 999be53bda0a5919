"""edgekd: distil a small student, export it, measure it, gate its release.

Everything public is loaded on first use: `import edgekd` imports neither torch nor tensorflow.
"""
