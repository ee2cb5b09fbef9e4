"""Results that people publish: packed into one file without anything personal, and verified by whoever gets it."""
