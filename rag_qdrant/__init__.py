"""Search your files and ask them questions on Qdrant, each person seeing exactly what they may see."""
