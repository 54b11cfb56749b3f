-- One query per table, sequence and large object, each giving a key and a value.
SELECT format('SELECT %L, count(*) || '' rows, '' || coalesce(sum((''x'' || left(md5("~row"::text), 16))::bit(64)::bigint::numeric), 0) '
    'FROM ONLY %I.%I AS "~row"', 'rows ' || format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT format('SELECT %L, last_value || '' '' || is_called FROM %I.%I', 'sequence ' || format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
UNION ALL
SELECT format('SELECT %L, length(l) || '' bytes, '' || md5(l) FROM lo_get(%s) l', 'large object ' || oid, oid)
FROM pg_largeobject_metadata;
