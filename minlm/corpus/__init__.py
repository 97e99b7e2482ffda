"""Every path by which text comes in: the sample, downloads, the user's own files, ancient books, and their mix."""
