<?php
// The database, with its tables made where they are missing.

const TABLES = <<<'SQL'
    CREATE TABLE IF NOT EXISTS groups (name text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS adverts (
        id integer PRIMARY KEY, digest text UNIQUE, type text NOT NULL, price integer NOT NULL, text text NOT NULL,
        posted timestamptz NOT NULL
    );
    SQL;

/** One connection for the process; waits for a database that is not there yet, or no longer. */
function database(): PDO
{
    static $database = null;
    while (true) {
        try {
            if ($database === null) {
                $host = setting('DATABASE_HOST');
                $database = new PDO("pgsql:host=$host;port=27017;dbname=postgres;connect_timeout=2", 'postgres');
                $database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
                // two processes that make a table at once would collide
                $database->exec('SELECT pg_advisory_lock(1); ' . TABLES . ' SELECT pg_advisory_unlock(1);');
            }
            $database->query('SELECT 1');
            return $database;
        } catch (PDOException $error) {
            say('waiting for the database: ' . $error->getMessage());
            $database = null;
            usleep(300_000);
        }
    }
}
