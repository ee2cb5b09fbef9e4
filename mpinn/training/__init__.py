"""A training run: set up, its state, its epochs, what it saves, reports and shows, and how it recovers."""
