"""Finding models and versions by what is said of them."""
