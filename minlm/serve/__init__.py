"""A local server for a trained model: a page to play with it, and OpenAI's protocol for other programs.

`request` reads what the page asks for, `queue` admits a few requests at a time, `events` writes their texts, `openai`
speaks the protocol, `handler` and `server` put these behind HTTP, and `page/` holds the page itself.
"""
