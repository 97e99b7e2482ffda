"""A local web page to play with a trained model.

The story in order: `request` reads what a browser asks for, `line` lets one after the other have it, `events` runs the
model token by token, `server` puts these behind HTTP, and `page/` is what a person sees.
"""
