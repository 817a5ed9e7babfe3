#!/bin/sh
# A server-id of this Pod's own, 2 or more (the master has 1), then the command that follows.
id=$((2 + $(hostname | cksum | cut -d' ' -f1) % 4000000000))
grep -q '^server-id' /etc/mysql/mysql.conf.d/mysqld.cnf || echo "server-id=$id" >>/etc/mysql/mysql.conf.d/mysqld.cnf
exec "$@"
