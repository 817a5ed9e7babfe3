#!/bin/bash
# At the first start: make the data directory, set root's password, run /docker-entrypoint-initdb.d/*.sh against a
# server that no client can reach yet. Then become the server.
set -eu

data=/var/lib/mysql
if ! [ -d $data/mysql ]; then
    : "${MYSQL_ROOT_PASSWORD:?must be set}"
    mariadb-install-db --user=mysql --datadir=$data --skip-test-db >/dev/null
    mysqld --skip-networking --socket=/run/mysqld/init.sock &
    server=$!
    mysql=(mariadb --protocol=socket --socket=/run/mysqld/init.sock -uroot)
    until "${mysql[@]}" -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 $server
        sleep 0.1
    done
    # Not into the binary log: the slaves have their own root.
    "${mysql[@]}" <<SQL
SET SESSION sql_log_bin = 0;
CREATE USER 'root'@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
SQL
    mysql+=("-p$MYSQL_ROOT_PASSWORD")
    for script in /docker-entrypoint-initdb.d/*.sh; do
        [ -f "$script" ] && . "$script"
    done
    "${mysql[@]}" -e SHUTDOWN
    wait $server
fi
exec "$@"
