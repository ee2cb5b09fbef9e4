"""What training cannot measure: programs of their own, each with a command line, that suites run."""
