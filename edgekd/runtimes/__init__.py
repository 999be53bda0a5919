"""What runs a model file: each runtime turns a file and a target into a job for the runner."""
