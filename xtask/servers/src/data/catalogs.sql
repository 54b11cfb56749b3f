-- Each thing of the schema as a key and a value. What an extension brought is the extension's.
WITH own AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
brought AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
class AS (
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN own n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM brought WHERE classid = 'pg_class'::regclass AND objid = c.oid)
),
function AS (
    SELECT p.*, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name
    FROM pg_proc p JOIN own n ON n.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM brought WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
),
type AS (
    SELECT t.*, format('%I.%I', n.nspname, t.typname) AS name FROM pg_type t JOIN own n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e', 'r') AND NOT EXISTS (SELECT FROM brought WHERE classid = 'pg_type'::regclass AND objid = t.oid)
),
-- No rights said and the usual rights said are the same.
rights (kind, name, items) AS (
    SELECT 'class', name, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
    FROM class WHERE relkind NOT IN ('i', 'I', 'c')
    UNION ALL
    SELECT 'column', name || '.' || quote_ident(attname), attacl FROM class JOIN pg_attribute ON attrelid = class.oid WHERE attacl IS NOT NULL
    UNION ALL
    SELECT 'schema', quote_ident(nspname), coalesce(nspacl, acldefault('n', nspowner)) FROM own JOIN pg_namespace USING (oid, nspname)
    UNION ALL
    SELECT 'function', name, coalesce(proacl, acldefault('f', proowner)) FROM function
    UNION ALL
    SELECT 'type', name, coalesce(typacl, acldefault('T', typowner)) FROM type
    UNION ALL
    SELECT 'default', concat_ws(' ', quote_ident(pg_get_userbyid(defaclrole)), defaclnamespace::regnamespace, defaclobjtype), defaclacl
    FROM pg_default_acl
    UNION ALL
    SELECT 'large object', oid::text, coalesce(lomacl, acldefault('L', lomowner)) FROM pg_largeobject_metadata
    UNION ALL
    SELECT 'database', '', coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
)
SELECT CASE kind WHEN 'database' THEN 'database rights' ELSE 'rights ' || kind || ' ' || name END,
    array_to_string(ARRAY(SELECT i::text FROM unnest(items) i ORDER BY i::text), ', ') FROM rights
UNION ALL
SELECT 'schema ' || quote_ident(nspname), concat_ws(' | ', pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace'))
FROM own JOIN pg_namespace USING (oid, nspname)
UNION ALL
SELECT 'class ' || name, concat_ws(' | ', relkind, pg_get_userbyid(relowner), relpersistence, reloptions::text, relrowsecurity,
    relforcerowsecurity, relispopulated, relreplident, pg_get_expr(relpartbound, oid),
    CASE relkind WHEN 'p' THEN pg_get_partkeydef(oid) END, obj_description(oid, 'pg_class'),
    (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = class.oid))
FROM class WHERE relkind NOT IN ('i', 'I')
UNION ALL
SELECT 'column ' || name || '.' || quote_ident(attname), concat_ws(' | ',
    row_number() OVER (PARTITION BY attrelid ORDER BY attnum), format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
    pg_get_expr(adbin, adrelid), NULLIF(attcollation, 0)::regcollation, attstorage, attislocal, coalesce(attstattarget, -1),
    col_description(attrelid, attnum))
FROM class JOIN pg_attribute ON attrelid = class.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE relkind NOT IN ('i', 'I', 'S')
UNION ALL
SELECT 'constraint ' || coalesce((SELECT name FROM class WHERE oid = conrelid), contypid::regtype::text) || '.' || quote_ident(conname),
    concat_ws(' | ', pg_get_constraintdef(c.oid), convalidated, obj_description(c.oid, 'pg_constraint'))
FROM pg_constraint c JOIN own n ON n.oid = connamespace WHERE contype NOT IN ('n', 't')
UNION ALL
SELECT 'index ' || name, concat_ws(' | ', pg_get_indexdef(indexrelid), indisvalid, indisclustered, indisreplident)
FROM class JOIN pg_index ON indexrelid = class.oid
UNION ALL
SELECT 'trigger ' || name || '.' || quote_ident(tgname), concat_ws(' | ', pg_get_triggerdef(t.oid), tgenabled)
FROM class JOIN pg_trigger t ON tgrelid = class.oid WHERE NOT tgisinternal
UNION ALL
SELECT 'rule ' || name || '.' || quote_ident(rulename), pg_get_ruledef(r.oid)
FROM class JOIN pg_rewrite r ON ev_class = class.oid WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'policy ' || name || '.' || quote_ident(polname), concat_ws(' | ', polpermissive, polcmd,
    (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r) END, ', ' ORDER BY 1) FROM unnest(polroles) r),
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
FROM class JOIN pg_policy ON polrelid = class.oid
UNION ALL
SELECT 'view ' || name, pg_get_viewdef(oid) FROM class WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'options of sequence ' || name, concat_ws(' | ', seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle,
    (SELECT refobjid::regclass || '.' || attname FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
     WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype IN ('a', 'i')))
FROM class JOIN pg_sequence ON seqrelid = class.oid
UNION ALL
SELECT 'function ' || name, concat_ws(' | ', CASE prokind WHEN 'a' THEN 'aggregate' ELSE pg_get_functiondef(oid) END,
    pg_get_userbyid(proowner), obj_description(oid, 'pg_proc'))
FROM function
UNION ALL
SELECT 'type ' || name, concat_ws(' | ', typtype, pg_get_userbyid(typowner), NULLIF(typbasetype, 0)::regtype, typnotnull, typdefault,
    (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = type.oid),
    (SELECT rngsubtype::regtype FROM pg_range WHERE rngtypid = type.oid), obj_description(oid, 'pg_type'))
FROM type
UNION ALL
SELECT 'statistics ' || stxnamespace::regnamespace || '.' || quote_ident(stxname), pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext s JOIN own n ON n.oid = stxnamespace
UNION ALL
SELECT 'collation ' || quote_ident(nspname) || '.' || quote_ident(collname), concat_ws(' | ', collprovider, collcollate, collctype)
FROM pg_collation JOIN own n ON n.oid = collnamespace
UNION ALL
SELECT 'extension ' || extname, concat_ws(' | ', extversion, extnamespace::regnamespace) FROM pg_extension
UNION ALL
SELECT 'owner of large object ' || oid, concat_ws(' | ', pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject'))
FROM pg_largeobject_metadata
UNION ALL
SELECT 'database', concat_ws(' | ', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit,
    shobj_description(oid, 'pg_database'))
FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'database setting ' || coalesce('of ' || quote_ident(NULLIF(setrole, 0)::regrole::text), ''),
    array_to_string(ARRAY(SELECT unnest(setconfig) ORDER BY 1), ', ')
FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database();
