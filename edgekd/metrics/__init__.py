"""How well a model does: each metric scores outputs against labels, sample by sample."""
