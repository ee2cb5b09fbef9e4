"""What any program needs: errors, files, processes, YAML with a schema, the command line, the terminal."""
