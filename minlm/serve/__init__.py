"""A local web page to play with a trained model.

`request` reads what a browser asks for, `queue` admits one request at a time, `events` runs the model token by token,
`server` puts these behind HTTP, and `page/` holds the page itself.
"""
