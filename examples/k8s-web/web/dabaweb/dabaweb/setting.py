"""Settings. The words service_mysql and service_redis are replaced by the Services' addresses when a Pod starts."""

SECRET_KEY = "for the example only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "dabaweb.urls"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "form",
        "USER": "root",
        "PASSWORD": "123456",
        "HOST": "service_mysql",
        "PORT": "3306",
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://service_redis:6379/1",
        "TIMEOUT": None,
    }
}
