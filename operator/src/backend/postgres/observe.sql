-- Everything about some tenants: a row for each, in the order asked.
-- $1 tenants, $2 schemas, $3 owner roles, $4 DML roles, $5 hosts of each (with a space between two), $6 uids, $7 digests that the
-- asker knows already, $8 migrators: arrays of one length. What has not changed since then is not sent again.
--
-- Nothing here may cost more as the fleet grows: everything is looked up by name or oid, tenant by tenant (`OFFSET 0` keeps the
-- planner from joining instead), and relations are found through pg_depend by their schema (pg_class has no index for that).
SELECT
    content.digest,
    CASE WHEN content.digest IS DISTINCT FROM asked.digest THEN content.document END AS document
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::text[])
    WITH ORDINALITY AS asked (tenant, schema, owner, role, hosts, uid, digest, migrator, place)
CROSS JOIN LATERAL (
    SELECT
        (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = asked.schema::name) AS schema,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.owner::name) AS owner,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.role::name) AS role,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.migrator::name) AS migrator
    OFFSET 0
) found
CROSS JOIN LATERAL (
    WITH relation AS MATERIALIZED (
        SELECT c.oid, c.relname, c.relkind, c.relacl
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'S')
        WHERE d.classid = 'pg_catalog.pg_class'::regclass
          AND d.refclassid = 'pg_catalog.pg_namespace'::regclass
          AND d.refobjid = found.schema
    )
    SELECT json_build_object(
        'record', (
            SELECT row_to_json(r) FROM (
                SELECT name, uid, state, suspended_message, schema_name, tenant_role, login_shard, placement, quotas, auth, cors,
                       generation, ready, connections, revision,
                       ARRAY(SELECT host FROM tenantry.tenant_host h WHERE h.tenant = t.name ORDER BY host) AS hosts
                FROM tenantry.tenant t WHERE name = asked.tenant
            ) r),
        'apps', (
            SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
                SELECT tenant, app, version, state FROM tenantry.tenant_app WHERE tenant = asked.tenant
            ) r),
        'migrations', (
            SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
                SELECT app, name, checksum, transaction::text AS transaction, ran_at IS NOT NULL AS ended,
                       -- A transaction of another server, from which this database was restored, may not exist yet.
                       ran_at IS NOT NULL OR coalesce(CASE
                           WHEN transaction < pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
                           THEN pg_catalog.pg_xact_status(transaction) END, '') = 'committed' AS ran
                FROM tenantry.tenant_migration WHERE tenant = asked.tenant
            ) r),
        'streams', (
            SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
                SELECT tenant, app, queue, class, stream_key, max_attempts, lease_seconds, max_length
                FROM tenantry.stream_binding WHERE tenant = asked.tenant
            ) r),
        'searches', (
            SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
                SELECT tenant, app, doc_type, engine, isolation, index_uid, building_uid, settings, settings_digest, live
                FROM tenantry.search_binding WHERE tenant = asked.tenant
            ) r),
        'restored', (
            SELECT CASE
                WHEN transaction IS NULL THEN 'Recorded'
                WHEN transaction < pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
                    AND pg_catalog.pg_xact_status(transaction) = 'committed' THEN 'Loaded'
            END FROM tenantry.restored WHERE tenant = asked.tenant),
        'snapshot', (SELECT location FROM tenantry.snapshot WHERE uid = asked.uid),
        'accesses', ARRAY(SELECT DISTINCT access FROM tenantry.access WHERE tenant = asked.tenant),
        'taken_hosts', (
            SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM (
                SELECT host, tenant FROM tenantry.tenant_host
                WHERE host = ANY (string_to_array(asked.hosts, ' ')) AND tenant <> asked.tenant ORDER BY host
            ) r),
        'owner', (
            SELECT json_build_object(
                'comment', (
                    SELECT description FROM pg_catalog.pg_shdescription
                    WHERE objoid = found.owner AND classoid = 'pg_catalog.pg_authid'::regclass),
                'members', (
                    SELECT coalesce(json_agg(json_build_object('name', m.rolname, 'admin', g.admin, 'set', g.set)), '[]')
                    FROM (SELECT member, bool_or(admin_option) AS admin, bool_or(set_option) AS set
                          FROM pg_catalog.pg_auth_members WHERE roleid = found.owner GROUP BY member) g
                    JOIN pg_catalog.pg_roles m ON m.oid = g.member),
                'groups', '[]'::json)
            WHERE found.owner IS NOT NULL),
        'migrator', (
            SELECT json_build_object(
                'comment', (
                    SELECT description FROM pg_catalog.pg_shdescription
                    WHERE objoid = found.migrator AND classoid = 'pg_catalog.pg_authid'::regclass),
                'members', (
                    SELECT coalesce(json_agg(json_build_object('name', m.rolname, 'admin', g.admin, 'set', g.set)), '[]')
                    FROM (SELECT member, bool_or(admin_option) AS admin, bool_or(set_option) AS set
                          FROM pg_catalog.pg_auth_members WHERE roleid = found.migrator GROUP BY member) g
                    JOIN pg_catalog.pg_roles m ON m.oid = g.member),
                'groups', '[]'::json)
            WHERE found.migrator IS NOT NULL),
        'role', (
            SELECT json_build_object(
                'comment', (
                    SELECT description FROM pg_catalog.pg_shdescription
                    WHERE objoid = found.role AND classoid = 'pg_catalog.pg_authid'::regclass),
                'members', (
                    SELECT coalesce(json_agg(json_build_object('name', m.rolname, 'admin', g.admin, 'set', g.set)), '[]')
                    FROM (SELECT member, bool_or(admin_option) AS admin, bool_or(set_option) AS set
                          FROM pg_catalog.pg_auth_members WHERE roleid = found.role GROUP BY member) g
                    JOIN pg_catalog.pg_roles m ON m.oid = g.member),
                'groups', (
                    SELECT coalesce(json_agg(g.rolname), '[]')
                    FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
                    WHERE a.member = found.role AND a.inherit_option))
            WHERE found.role IS NOT NULL),
        'schema', (
            SELECT json_build_object(
                'comment', (
                    SELECT description FROM pg_catalog.pg_description
                    WHERE objoid = schema.oid AND classoid = 'pg_catalog.pg_namespace'::regclass AND objsubid = 0),
                'owner', pg_catalog.pg_get_userbyid(schema.nspowner),
                'granted', EXISTS (
                    SELECT FROM pg_catalog.aclexplode(schema.nspacl) a
                    WHERE a.grantee = found.role AND a.privilege_type = 'USAGE'),
                'default_table_grants', (
                    SELECT count(DISTINCT a.privilege_type) = 4
                    FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
                    WHERE d.defaclrole = schema.nspowner AND d.defaclnamespace = schema.oid AND d.defaclobjtype = 'r'
                      AND a.grantee = found.role
                      AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')),
                'default_sequence_grants', EXISTS (
                    SELECT FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
                    WHERE d.defaclrole = schema.nspowner AND d.defaclnamespace = schema.oid AND d.defaclobjtype = 'S'
                      AND a.grantee = found.role AND a.privilege_type = 'USAGE'))
            FROM pg_catalog.pg_namespace schema WHERE schema.oid = found.schema),
        'tables', (
            SELECT coalesce(json_object_agg(t.relname, json_build_object(
                'granted', (
                    SELECT count(DISTINCT a.privilege_type) = 4 FROM pg_catalog.aclexplode(t.relacl) a
                    WHERE a.grantee = found.role
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
                'invalid_indexes', (
                    SELECT coalesce(json_agg(x.relname ORDER BY x.relname), '[]')
                    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                    WHERE i.indrelid = t.oid AND NOT i.indisvalid),
                'constraints', (
                    SELECT coalesce(json_object_agg(c.conname, pg_catalog.pg_get_constraintdef(c.oid)), '{}')
                    FROM pg_catalog.pg_constraint c WHERE c.conrelid = t.oid AND c.contype IN ('c', 'f')))), '{}')
            FROM relation t WHERE t.relkind <> 'S'),
        'sequences', (
            SELECT coalesce(json_object_agg(s.relname, EXISTS (
                SELECT FROM pg_catalog.aclexplode(s.relacl) a
                WHERE a.grantee = found.role AND a.privilege_type = 'USAGE')), '{}')
            FROM relation s WHERE s.relkind = 'S')
    ) AS document
    OFFSET 0
) look
CROSS JOIN LATERAL (
    SELECT look.document, hashtextextended(look.document::text, 0) AS digest OFFSET 0
) content
ORDER BY asked.place
