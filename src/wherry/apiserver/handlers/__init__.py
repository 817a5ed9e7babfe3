"""One file per verb: from a request that was authenticated and authorized to an answer.

A handler is ``async def handle(api, request) -> Answer`` and raises StatusError. It knows nothing of HTTP.
"""
