"""`python -m rag_qdrant` is the command line."""

from rag_qdrant.cli.app import main

main()
