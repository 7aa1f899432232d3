"""All that touches a socket, a disk, a model or a file format."""
