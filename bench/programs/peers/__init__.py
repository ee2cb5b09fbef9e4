"""The same network, data and per-exemplar SGD elsewhere: PyTorch, scikit-learn, Go. Each only where it is installed."""
