"""Plots, tables and pages about a corpus, a run, or several runs."""
