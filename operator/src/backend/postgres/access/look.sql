-- Everything about the direct access of one tenant as one JSON document.
-- $1 tenant, $2 schema, $3 names of access roles, $4 names of access roles and their logins, $5 and $6 the namespaces and the
-- names of Secrets, $7 the owner role.
--
-- Relations are found through pg_depend by their schema, as in observe.sql.
WITH
    schema AS MATERIALIZED (SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = $2),
    relation AS MATERIALIZED (
        SELECT c.relkind, c.relacl
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        WHERE d.classid = 'pg_catalog.pg_class'::regclass
          AND d.refclassid = 'pg_catalog.pg_namespace'::regclass
          AND d.refobjid = (SELECT oid FROM schema)
    )
SELECT json_build_object(
    'now', now(),
    'database', pg_catalog.current_database(),
    'schema', EXISTS (SELECT FROM schema),
    'administrators', (
        SELECT coalesce(json_agg(m.rolname), '[]')
        FROM pg_catalog.pg_roles o
        JOIN pg_catalog.pg_auth_members a ON a.roleid = o.oid AND a.admin_option
        JOIN pg_catalog.pg_roles m ON m.oid = a.member
        WHERE o.rolname = $7),
    'rows', (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
            SELECT access, backend, level, secret_namespace, secret_name, serial, digest, state, handled_rotate,
                   rotated_at, previous_until
            FROM tenantry.access WHERE tenant = $1 ORDER BY access, backend
        ) r),
    'taken', (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
            SELECT a.secret_namespace AS namespace, a.secret_name AS name, a.tenant, a.access
            FROM unnest($5::text[], $6::text[]) AS wanted (namespace, name)
            JOIN tenantry.access a ON a.secret_namespace = wanted.namespace AND a.secret_name = wanted.name
            WHERE a.tenant <> $1
        ) r),
    'roles', (
        SELECT coalesce(json_object_agg(r.rolname, json_build_object(
            'comment', pg_catalog.shobj_description(r.oid, 'pg_authid'),
            'can_login', r.rolcanlogin,
            'connection_limit', r.rolconnlimit,
            'settings', coalesce(r.rolconfig, '{}'),
            'groups', (
                SELECT coalesce(json_agg(json_build_object('name', g.rolname, 'inherit', m.inherit, 'set', m.set)), '[]')
                FROM (SELECT roleid, bool_or(inherit_option) AS inherit, bool_or(set_option) AS set
                      FROM pg_catalog.pg_auth_members WHERE member = r.oid GROUP BY roleid) m
                JOIN pg_catalog.pg_roles g ON g.oid = m.roleid))), '{}')
        FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($4)),
    'rights', (
        SELECT coalesce(json_object_agg(r.rolname, json_build_object(
            'schema', (
                SELECT coalesce(string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), '')
                FROM schema, pg_catalog.aclexplode(schema.nspacl) a WHERE a.grantee = r.oid),
            'tables', ARRAY(
                SELECT DISTINCT (
                    SELECT coalesce(string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), '')
                    FROM pg_catalog.aclexplode(t.relacl) a WHERE a.grantee = r.oid)
                FROM relation t WHERE t.relkind <> 'S'),
            'sequences', ARRAY(
                SELECT DISTINCT (
                    SELECT coalesce(string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), '')
                    FROM pg_catalog.aclexplode(t.relacl) a WHERE a.grantee = r.oid)
                FROM relation t WHERE t.relkind = 'S'),
            'new_tables', (
                SELECT coalesce(string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), '')
                FROM schema JOIN pg_catalog.pg_default_acl d
                    ON d.defaclrole = schema.nspowner AND d.defaclnamespace = schema.oid AND d.defaclobjtype = 'r',
                     pg_catalog.aclexplode(d.defaclacl) a WHERE a.grantee = r.oid),
            'new_sequences', (
                SELECT coalesce(string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), '')
                FROM schema JOIN pg_catalog.pg_default_acl d
                    ON d.defaclrole = schema.nspowner AND d.defaclnamespace = schema.oid AND d.defaclobjtype = 'S',
                     pg_catalog.aclexplode(d.defaclacl) a WHERE a.grantee = r.oid))), '{}')
        FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($3))
)
