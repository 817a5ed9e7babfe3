from django.urls import path

from dabaweb.views import index

urlpatterns = [path("", index)]
