-- Who owns what and who may what.
ALTER TABLE app.customer OWNER TO app_owner;
ALTER TABLE app.orders OWNER TO app_owner;
ALTER TABLE "odd schema"."a=b" OWNER TO "App ""Writer""";
ALTER FUNCTION app.touched() OWNER TO app_owner;
ALTER TYPE app.mood OWNER TO app_owner;
GRANT USAGE ON SCHEMA app, "odd schema" TO app_reader, "App ""Writer""";
GRANT SELECT ON ALL TABLES IN SCHEMA app TO app_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.customer TO "App ""Writer""" WITH GRANT OPTION;
GRANT SELECT (id, name), UPDATE (name) ON app.customer TO tenant_ü;
GRANT USAGE ON SEQUENCE app.counting_down TO app_reader;
GRANT USAGE ON TYPE app.mood TO app_reader;
REVOKE ALL ON FUNCTION app.double(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.double(integer) TO "it's a=group";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO app_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE TABLE app.tenant (id integer PRIMARY KEY, owner name NOT NULL, secret text);
INSERT INTO app.tenant SELECT i, CASE i % 2 WHEN 0 THEN 'app_reader' ELSE 'tenant_ü' END, md5(i::text) FROM generate_series(1, 60) i;
ALTER TABLE app.tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON app.tenant USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY "it's read" ON app.tenant AS RESTRICTIVE FOR SELECT TO app_reader, tenant_ü USING (id < 1000);
GRANT SELECT ON app.tenant TO app_reader, tenant_ü;
