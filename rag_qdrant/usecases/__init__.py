"""One module per verb; each is a function from a View and some models to a result."""
