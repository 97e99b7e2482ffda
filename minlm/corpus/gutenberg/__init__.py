"""Ancient books from Project Gutenberg: catalog, selection, fetching, cleaning, cutting into documents."""
