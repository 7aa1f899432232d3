"""File formats, each read in a child process with limits."""
