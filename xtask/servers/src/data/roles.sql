GRANT "it's a=group" TO app_owner WITH ADMIN OPTION;
GRANT "it's a=group" TO "App ""Writer""";
GRANT app_reader TO "it's a=group";
GRANT tenant_ü TO app_reader;
ALTER ROLE app_reader SET statement_timeout = '90s';
ALTER ROLE app_reader SET search_path = app, "$user", public;
ALTER ROLE app_owner VALID UNTIL '2099-12-31 23:59:59+00';
COMMENT ON ROLE "App ""Writer""" IS 'writes: it''s its work';
