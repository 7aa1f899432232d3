"""The command line: options in, text or JSON out, errors to exit codes."""
