"""The web app: a page to draw on, and an API for programs."""
