"""Create the objects given as JSON lines on standard input, 32 at a time.

usage: create.py URL TOKEN <objects.jsonl
"""

import asyncio
import json
import ssl
import sys

import aiohttp

PLURALS = {"Pod": "pods", "ConfigMap": "configmaps"}


async def main(url, token):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=context, limit=32)) as session:

        async def create(line):
            obj = json.loads(line)
            path = f"/api/v1/namespaces/{obj['metadata']['namespace']}/{PLURALS[obj['kind']]}"
            async with session.post(url + path, data=line) as answer:
                if answer.status != 201:
                    sys.exit(await answer.text())

        await asyncio.gather(*(create(line) for line in sys.stdin))


asyncio.run(main(*sys.argv[1:]))
