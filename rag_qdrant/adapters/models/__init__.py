"""Models behind the ports."""
