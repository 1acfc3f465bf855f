"""What commands read from the command line: shared options, parsers, shell completion."""
