"""Figures, measured by commands; pytest does not run them."""
