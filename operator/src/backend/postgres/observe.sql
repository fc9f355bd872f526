-- Everything about one tenant as one JSON document.
-- $1 tenant, $2 schema, $3 owner role, $4 DML role, $5 hosts, $6 uid.
--
-- Nothing here may cost more as the fleet grows: relations are found through pg_depend by their schema (pg_class has no
-- index for that), and everything below a relation through the index on its oid.
WITH
    schema AS MATERIALIZED (SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = $2),
    role AS MATERIALIZED (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $4),
    relation AS MATERIALIZED (
        SELECT c.oid, c.relname, c.relkind, c.relacl
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'S')
        WHERE d.classid = 'pg_catalog.pg_class'::regclass
          AND d.refclassid = 'pg_catalog.pg_namespace'::regclass
          AND d.refobjid = (SELECT oid FROM schema)
    )
SELECT json_build_object(
    'record', (
        SELECT row_to_json(r) FROM (
            SELECT name, uid, state, suspended_message, schema_name, tenant_role, login_shard, placement, quotas,
                   generation, ready, revision,
                   ARRAY(SELECT host FROM tenantry.tenant_host h WHERE h.tenant = t.name ORDER BY host) AS hosts
            FROM tenantry.tenant t WHERE name = $1
        ) r),
    'apps', (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
            SELECT tenant, app, version, state FROM tenantry.tenant_app WHERE tenant = $1
        ) r),
    'streams', (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
            SELECT tenant, app, queue, class, stream_key, max_attempts, lease_seconds, max_length
            FROM tenantry.stream_binding WHERE tenant = $1
        ) r),
    'searches', (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
            SELECT tenant, app, doc_type, engine, isolation, index_uid, building_uid, settings, settings_digest, live
            FROM tenantry.search_binding WHERE tenant = $1
        ) r),
    'restored', (SELECT snapshot FROM tenantry.restored WHERE tenant = $1),
    'snapshot', (SELECT location FROM tenantry.snapshot WHERE uid = $6),
    'taken_hosts', (
        SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
            SELECT host, tenant FROM tenantry.tenant_host WHERE host = ANY ($5) AND tenant <> $1 ORDER BY host
        ) r),
    'owner', (
        SELECT json_build_object(
            'comment', pg_catalog.shobj_description(o.oid, 'pg_authid'),
            'members', (
                SELECT coalesce(json_agg(json_build_object('name', m.rolname, 'admin', g.admin, 'set', g.set)), '[]')
                FROM (SELECT member, bool_or(admin_option) AS admin, bool_or(set_option) AS set
                      FROM pg_catalog.pg_auth_members WHERE roleid = o.oid GROUP BY member) g
                JOIN pg_catalog.pg_roles m ON m.oid = g.member),
            'groups', '[]'::json)
        FROM pg_catalog.pg_roles o WHERE o.rolname = $3),
    'role', (
        SELECT json_build_object(
            'comment', pg_catalog.shobj_description(role.oid, 'pg_authid'),
            'members', (
                SELECT coalesce(json_agg(json_build_object('name', m.rolname, 'admin', g.admin, 'set', g.set)), '[]')
                FROM (SELECT member, bool_or(admin_option) AS admin, bool_or(set_option) AS set
                      FROM pg_catalog.pg_auth_members WHERE roleid = role.oid GROUP BY member) g
                JOIN pg_catalog.pg_roles m ON m.oid = g.member),
            'groups', (
                SELECT coalesce(json_agg(g.rolname), '[]')
                FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
                WHERE a.member = role.oid AND a.inherit_option))
        FROM role),
    'schema', (
        SELECT json_build_object(
            'comment', pg_catalog.obj_description(schema.oid, 'pg_namespace'),
            'owner', pg_catalog.pg_get_userbyid(schema.nspowner),
            'granted', EXISTS (
                SELECT FROM pg_catalog.aclexplode(schema.nspacl) a
                WHERE a.grantee = (SELECT oid FROM role) AND a.privilege_type = 'USAGE'),
            'default_table_grants', (
                SELECT count(DISTINCT a.privilege_type) = 4
                FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
                WHERE d.defaclrole = schema.nspowner AND d.defaclnamespace = schema.oid AND d.defaclobjtype = 'r'
                  AND a.grantee = (SELECT oid FROM role)
                  AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')),
            'default_sequence_grants', EXISTS (
                SELECT FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
                WHERE d.defaclrole = schema.nspowner AND d.defaclnamespace = schema.oid AND d.defaclobjtype = 'S'
                  AND a.grantee = (SELECT oid FROM role) AND a.privilege_type = 'USAGE'))
        FROM schema),
    'tables', (
        SELECT coalesce(json_object_agg(t.relname, json_build_object(
            'granted', (
                SELECT count(DISTINCT a.privilege_type) = 4 FROM pg_catalog.aclexplode(t.relacl) a
                WHERE a.grantee = (SELECT oid FROM role)
                  AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')),
            'primary_key', EXISTS (
                SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisprimary),
            'columns', (
                SELECT coalesce(json_object_agg(a.attname, json_build_object(
                    'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'not_null', a.attnotnull,
                    'has_default', a.atthasdef)), '{}')
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
            'indexes', (
                SELECT coalesce(json_object_agg(x.relname, i.indisunique), '{}')
                FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                WHERE i.indrelid = t.oid AND i.indisvalid),
            'constraints', (
                SELECT coalesce(json_object_agg(c.conname, pg_catalog.pg_get_constraintdef(c.oid)), '{}')
                FROM pg_catalog.pg_constraint c WHERE c.conrelid = t.oid AND c.contype IN ('c', 'f')))), '{}')
        FROM relation t WHERE t.relkind <> 'S'),
    'sequences', (
        SELECT coalesce(json_object_agg(s.relname, EXISTS (
            SELECT FROM pg_catalog.aclexplode(s.relacl) a
            WHERE a.grantee = (SELECT oid FROM role) AND a.privilege_type = 'USAGE')), '{}')
        FROM relation s WHERE s.relkind = 'S')
)
