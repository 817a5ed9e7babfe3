"""One page that needs both databases: it stores the visit in MySQL and counts it in Redis."""

import socket

from django.core.cache import cache
from django.db import connection
from django.http import JsonResponse


def index(request):
    pod = socket.gethostname()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO visits (pod) VALUES (%s)", [pod])
        cursor.execute("SELECT COUNT(*) FROM forms")
        forms = cursor.fetchone()[0]
    cache.add("hits", 0)
    return JsonResponse({"pod": pod, "forms": forms, "hits": cache.incr("hits")})
