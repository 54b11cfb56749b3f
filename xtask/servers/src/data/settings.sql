ALTER DATABASE :database OWNER TO app_owner;
ALTER DATABASE :database SET work_mem = '7MB';
ALTER DATABASE :database SET search_path = app, public, "odd schema";
ALTER DATABASE :database SET "app.motto" = 'it''s a=b; "c"';
ALTER ROLE app_reader IN DATABASE :database SET lock_timeout = '9s';
REVOKE ALL ON DATABASE :database FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :database TO app_reader, "it's a=group";
COMMENT ON DATABASE :database IS 'for tests: it''s "odd"';
