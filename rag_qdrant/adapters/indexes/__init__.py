"""Where points are kept: exact in memory, Qdrant Edge in this process or the next."""
