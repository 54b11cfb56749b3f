-- The first superuser's password is the server's own.
SELECT 'role ' || rolname, concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
    rolconnlimit, rolvaliduntil AT TIME ZONE 'UTC', CASE oid WHEN 10 THEN NULL ELSE md5(rolpassword) END, shobj_description(oid, 'pg_authid'))
FROM pg_authid WHERE rolname !~ '^pg_'
UNION ALL
SELECT 'member ' || quote_ident(m.rolname) || ' of ' || quote_ident(r.rolname), CASE WHEN bool_or(a.admin_option) THEN 'admin' ELSE '' END
FROM pg_auth_members a JOIN pg_authid m ON m.oid = a.member JOIN pg_authid r ON r.oid = a.roleid
WHERE m.rolname !~ '^pg_' GROUP BY 1, m.rolname, r.rolname
UNION ALL
SELECT 'setting of ' || quote_ident(r.rolname), array_to_string(ARRAY(SELECT unnest(s.setconfig) ORDER BY 1), ', ')
FROM pg_db_role_setting s JOIN pg_authid r ON r.oid = s.setrole WHERE s.setdatabase = 0
UNION ALL
SELECT 'tablespace ' || quote_ident(spcname), concat_ws(' ', pg_get_userbyid(spcowner), pg_tablespace_location(oid), spcoptions::text)
FROM pg_tablespace WHERE spcname !~ '^pg_';
