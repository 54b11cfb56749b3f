-- Names and values that break tools.
CREATE SCHEMA "odd schema";
CREATE SCHEMA "Quote""d; it's";
CREATE TABLE "odd schema"."Mixed Case" ("Id" integer PRIMARY KEY, "select" text DEFAULT 'a''b');
CREATE TABLE "odd schema"."quote""d" ("a""b" integer PRIMARY KEY);
CREATE TABLE "odd schema"."it's" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."a=b" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."semi;colon -- comment" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."back\slash %s $1 {}" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."*.?[a-z]|(x)+" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."-dash" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."../../etc/passwd" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"." leading and trailing " (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."new
line" ("col
umn" integer PRIMARY KEY);
CREATE TABLE "odd schema"."\connect evil
DROP TABLE app.customer;" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."tab	here" (id integer PRIMARY KEY);
CREATE TABLE "odd schema"."ünïcödé 名前 🦀" ("größe" integer PRIMARY KEY);
CREATE TABLE "odd schema"."sixty_three_bytes_long_name_________________________________end" (id integer PRIMARY KEY);
CREATE TABLE "Quote""d; it's"."table" ("user" integer PRIMARY KEY, "order" text);
CREATE TABLE "odd schema"."no columns" ();
CREATE SEQUENCE "odd schema"."Seq ""q""";
DO $do$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'r' AND c.relnatts > 0
        AND c.relnamespace IN ('"odd schema"'::regnamespace, '"Quote""d; it''s"'::regnamespace)
    LOOP
        EXECUTE format('INSERT INTO %s SELECT generate_series(1, 5)', name);
        EXECUTE format('COMMENT ON TABLE %s IS %L', name, E'a comment\n\\. with \\ and '' and ü');
    END LOOP;
END $do$;
INSERT INTO "odd schema"."no columns" DEFAULT VALUES;
INSERT INTO "odd schema"."no columns" DEFAULT VALUES;
SELECT FROM (SELECT setval('"odd schema"."Seq ""q"""', 7, false)) s;

-- Text that looks like the end of data, or like nothing.
CREATE TABLE "odd schema".text (id integer PRIMARY KEY, value text);
INSERT INTO "odd schema".text VALUES
    (1, E'\\.'), (2, E'\n\\.\n'), (3, E'line\n\\.\nline'), (4, E'\\N'), (5, NULL), (6, ''), (7, E'\t'), (8, E'\\'),
    (9, E'\\\\'), (10, E'\r\n'), (11, E'\x7f\x01\x1b[31m'), (12, 'NULL'), (13, E'\\x00'), (14, E'"quoted", ''it'''), (15, ' '),
    (16, '--'), (17, '/*'), (18, '$$'), (19, E'\\connect other'), (20, '🦀 e' || U&'\0301'), (21, U&'\FEFFmark'), (22, repeat('\', 999));
INSERT INTO "odd schema".text SELECT i, E'\\\\.\n\\.\n' || repeat(E'\\', i % 17) || E'\n\\.' || md5(i::text)
FROM generate_series(100, 1099) i;

CREATE TABLE "odd schema"."values" (
    id integer PRIMARY KEY, b bytea, j json, jb jsonb, a integer[], aa text[][], tz timestamptz, t timestamp, d interval,
    n numeric, f double precision, r real, ip inet, bits bit varying, u uuid, s int8range, m int4multirange, c "char", x xid8
);
INSERT INTO "odd schema"."values"
SELECT 1, decode(string_agg(lpad(to_hex(i), 2, '0'), '' ORDER BY i), 'hex'), '{"a" : 1,  "a":2}', '{"b": [1, null]}', '{1,NULL,3}',
       '{{"a,b","c\"d"},{"\\",NULL}}', '2026-03-29 02:30:00+01', 'infinity', '1 year -2 days 03:04:05.678901', 'NaN', '-0', 'NaN',
       '::1/64', B'10110', '00000000-0000-0000-0000-000000000001', '[1,10)', '{[1,2),[5,9)}', 'x', '77'
FROM generate_series(0, 255) i;
INSERT INTO "odd schema"."values" (id, b, a, tz, t, n, f, r) VALUES
    (2, '', '{}', '-infinity', '4713-01-01 00:00:00 BC', 'Infinity', 'Infinity', '1e-45'),
    (3, '\x5c2e0a', '[-1:1]={1,2,3}', '0001-12-31 23:59:59.999999+00 BC', '294276-12-31', 1e-130, 1e308, -3.4e38),
    (4, NULL, NULL, '2026-10-25 02:30:00 Europe/Berlin', NULL, 123456789012345678901234567890.123456789, 0.1, 0.1);

-- Stored out of line: too long for a page, and not to be compressed.
CREATE TABLE "odd schema".wide (id integer PRIMARY KEY, value text, raw bytea);
ALTER TABLE "odd schema".wide ALTER COLUMN raw SET STORAGE EXTERNAL;
INSERT INTO "odd schema".wide
SELECT i, string_agg(md5(i || '.' || j), ''), decode(string_agg(md5(j || '-' || i), ''), 'hex')
FROM generate_series(1, 4) i, generate_series(1, 500) j GROUP BY i;

-- Large objects: none of their bytes is in a table. Their numbers are kept by a dump.
SELECT FROM (SELECT lo_from_bytea(700001, '\x00010203ff5c2e0a'), lo_create(700002)) s;
SELECT FROM (
    SELECT lo_from_bytea(700003 + i, decode(repeat(md5('large ' || i), 20000), 'hex')) FROM generate_series(0, 2) i
) s;
COMMENT ON LARGE OBJECT 700001 IS 'large, though small';
ALTER LARGE OBJECT 700003 OWNER TO app_owner;
GRANT SELECT ON LARGE OBJECT 700001 TO app_reader;
