#!/bin/sh
# Make the database in /data/db where there is none, then serve it as the user postgres.
set -e
install -d -o postgres -g postgres -m 700 /data/db/postgres /run/postgresql
as_postgres() { exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if ! [ -e /data/db/postgres/PG_VERSION ]; then
    (as_postgres initdb --pgdata=/data/db/postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --username=postgres)
    echo 'host all all all trust' >>/data/db/postgres/pg_hba.conf
fi
as_postgres postgres -D /data/db/postgres -c listen_addresses='*' -c port=27017
