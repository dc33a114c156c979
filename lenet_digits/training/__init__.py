"""Training and evaluation: digits, recipes, runs and their checkpoints."""
