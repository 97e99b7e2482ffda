"""Figures, tables and web pages about a corpus, a run, or several runs."""
