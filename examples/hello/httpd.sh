# Serve the mounted page with this pod's name in it, in the foreground as process 1.
/bin/busybox mkdir -p /www
/bin/busybox sed "s/@POD@/$(/bin/busybox hostname)/" /config/index.html >/www/index.html
echo "serving /www on port 8080"
exec /bin/busybox httpd -f -v -p 8080 -h /www
