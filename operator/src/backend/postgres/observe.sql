-- Everything about some tenants: a row for each, in the order asked.
-- $1 tenants, $2 schemas, $3 owner roles, $4 DML roles, $5 hosts of each (with a space between two), $6 uids, $7 digests that the
-- asker knows already, $8 migrators, $9 logins of traffic that are one tenant's: arrays of one length. What has not changed since then is not sent again.
--
-- Nothing here may cost more as the fleet grows: everything is looked up by name or oid, tenant by tenant (`OFFSET 0` keeps the
-- planner from joining instead), and relations are found through pg_depend by their schema (pg_class has no index for that).
SELECT
    content.digest,
    CASE WHEN content.digest IS DISTINCT FROM asked.digest THEN content.document END AS document
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::text[],
    $9::text[])
    WITH ORDINALITY AS asked (tenant, schema, owner, role, hosts, uid, digest, migrator, traffic, place)
CROSS JOIN LATERAL (
    SELECT
        (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = asked.schema::name) AS schema,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.owner::name) AS owner,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.role::name) AS role,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.migrator::name) AS migrator,
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = asked.traffic::name) AS traffic
    OFFSET 0
) found
CROSS JOIN LATERAL (
    WITH relation AS MATERIALIZED (
        SELECT c.oid, c.relname, c.relkind, c.relacl, c.relowner, c.relpersistence, c.relam, c.reltype, c.reloftype,
               c.relrowsecurity OR c.relforcerowsecurity OR c.relispartition AS special
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'S')
        WHERE d.classid = 'pg_catalog.pg_class'::regclass
          AND d.refclassid = 'pg_catalog.pg_namespace'::regclass
          AND d.refobjid = found.schema
    )
    SELECT json_build_object(
        'record', (
            SELECT row_to_json(r) FROM (
                SELECT name, uid, coalesce(origin, uid) AS origin, state, suspended_message, schema_name, tenant_role, login_shard,
                       placement, quotas, auth, cors, generation, ready, connections, revision,
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
                        'default', pg_catalog.pg_get_expr(v.adbin, v.adrelid))), '{}')
                    FROM pg_catalog.pg_attribute a
                    LEFT JOIN pg_catalog.pg_attrdef v ON v.adrelid = a.attrelid AND v.adnum = a.attnum
                    WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
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
            FROM relation s WHERE s.relkind = 'S'),
        'traffic', (
            SELECT json_build_object(
                'comment', (
                    SELECT description FROM pg_catalog.pg_shdescription
                    WHERE objoid = found.traffic AND classoid = 'pg_catalog.pg_authid'::regclass),
                'members', (
                    SELECT coalesce(json_agg(json_build_object('name', m.rolname, 'admin', g.admin, 'set', g.set)), '[]')
                    FROM (SELECT member, bool_or(admin_option) AS admin, bool_or(set_option) AS set
                          FROM pg_catalog.pg_auth_members WHERE roleid = found.traffic GROUP BY member) g
                    JOIN pg_catalog.pg_roles m ON m.oid = g.member),
                'groups', (
                    SELECT coalesce(json_agg(g.rolname ORDER BY g.rolname), '[]')
                    FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
                    WHERE a.member = found.traffic),
                'opens', r.rolcanlogin,
                'altered', r.rolconnlimit <> 64 OR r.rolinherit OR r.rolvaliduntil IS NOT NULL
                    OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = found.traffic),
                -- Replicas have heard by then that the tenant shares connections again.
                'forgotten', EXISTS (
                    SELECT FROM tenantry.tenant t WHERE t.name = asked.tenant AND t.connections = 'Shared'
                      AND t.connections_since < now() - interval '2 seconds'))
            FROM pg_catalog.pg_roles r WHERE r.oid = found.traffic),
        -- What is none of the shapes that our DDL makes, and so can be code or lead to some (ADR 30): in words, a bounded number.
        'foreign', (
            SELECT coalesce(json_agg(f.what), '[]') FROM (
                SELECT DISTINCT what FROM (
                    -- Objects of the schema.
                    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS what
                    FROM pg_catalog.pg_depend d
                    WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = found.schema
                      AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid IN (SELECT oid FROM relation))
                      AND d.classid <> 'pg_catalog.pg_default_acl'::regclass
                    UNION ALL
                    -- Tables and sequences of another sort than ours.
                    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, t.oid, 0)
                    FROM relation t
                    WHERE t.relkind = 'p' OR t.relpersistence <> 'p' OR t.relowner IS DISTINCT FROM found.owner OR t.special
                       OR t.reloftype <> 0 OR (t.relkind = 'r' AND t.relam <> 2)
                       OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = t.oid OR i.inhparent = t.oid)
                    UNION ALL
                    -- What depends on them: indexes, defaults, constraints and row types are looked at below.
                    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
                    FROM relation t JOIN pg_catalog.pg_depend d
                        ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid
                    WHERE CASE
                        WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN NOT (
                            d.objid IN (SELECT oid FROM relation)
                            OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = d.objid AND i.indrelid = t.oid)
                            OR EXISTS (SELECT FROM pg_catalog.pg_class o WHERE o.oid = d.objid AND o.relkind = 't'))
                        WHEN d.classid = 'pg_catalog.pg_type'::regclass THEN d.objid <> t.reltype
                        WHEN d.classid = 'pg_catalog.pg_constraint'::regclass THEN NOT EXISTS (
                            SELECT FROM pg_catalog.pg_constraint c
                            WHERE c.oid = d.objid AND c.contype IN ('p', 'u', 'c', 'f', 'n')
                              AND c.conrelid IN (SELECT oid FROM relation)
                              AND (c.contype <> 'f' OR c.confrelid IN (SELECT oid FROM relation)))
                        WHEN d.classid = 'pg_catalog.pg_trigger'::regclass THEN EXISTS (
                            SELECT FROM pg_catalog.pg_trigger g WHERE g.oid = d.objid AND NOT g.tgisinternal)
                        ELSE d.classid <> 'pg_catalog.pg_attrdef'::regclass END
                    UNION ALL
                    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_trigger'::regclass, g.oid, 0)
                    FROM relation t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
                    UNION ALL
                    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_rewrite'::regclass, w.oid, 0)
                    FROM relation t JOIN pg_catalog.pg_rewrite w ON w.ev_class = t.oid
                    UNION ALL
                    -- What depends on their row types, but for the types of their arrays.
                    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
                    FROM relation t JOIN pg_catalog.pg_depend d
                        ON d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid = t.reltype AND t.reltype <> 0
                    WHERE NOT (d.classid = 'pg_catalog.pg_type'::regclass AND d.deptype = 'i')
                    UNION ALL
                    -- Indexes with expressions or predicates, or of another method than ours.
                    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, i.indexrelid, 0)
                    FROM relation t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
                    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                    WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR i.indisexclusion OR x.relam <> 403
                    UNION ALL
                    -- Columns that compute something, of types that are not the server's own, or with rights of their own.
                    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, t.oid, a.attnum)
                    FROM relation t JOIN pg_catalog.pg_attribute a
                        ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
                    JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
                    WHERE t.relkind <> 'S' AND (
                        a.attgenerated <> '' OR a.attidentity <> '' OR a.attacl IS NOT NULL OR y.typtype <> 'b'
                        OR y.typnamespace <> 'pg_catalog'::regnamespace)
                    UNION ALL
                    -- What the tenant's roles own elsewhere.
                    SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
                    FROM pg_catalog.pg_shdepend d
                    WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass
                      AND d.refobjid IN (found.owner, found.role, found.traffic) AND d.deptype = 'o'
                      AND d.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
                      AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid IN (SELECT oid FROM relation))
                      AND NOT (d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = found.schema)
                      AND d.classid <> 'pg_catalog.pg_default_acl'::regclass
                    UNION ALL
                    -- Rights of anybody else, and rights that we never give.
                    SELECT pg_catalog.format('%s of %s on %s', x.privilege_type,
                        CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee) END, g.place)
                    FROM (
                        SELECT 'the schema' AS place, n.nspacl AS acl, '{USAGE}'::text[] AS known
                        FROM pg_catalog.pg_namespace n WHERE n.oid = found.schema
                        UNION ALL SELECT t.relname, t.relacl,
                            CASE t.relkind WHEN 'S' THEN '{USAGE}' ELSE '{SELECT,INSERT,UPDATE,DELETE}' END::text[]
                        FROM relation t WHERE t.relacl IS NOT NULL
                        UNION ALL SELECT 'what is made from now on', d.defaclacl,
                            CASE d.defaclobjtype WHEN 'S' THEN '{USAGE}' WHEN 'r' THEN '{SELECT,INSERT,UPDATE,DELETE}' ELSE '{}' END::text[]
                        FROM pg_catalog.pg_default_acl d WHERE d.defaclrole = found.owner
                    ) g, pg_catalog.aclexplode(g.acl) x
                    WHERE x.grantee <> found.owner AND (
                        x.is_grantable OR x.privilege_type <> ALL (g.known)
                        OR (x.grantee IS DISTINCT FROM found.role AND NOT EXISTS (
                            -- The role of a direct access bears the tenant's mark.
                            SELECT FROM pg_catalog.pg_shdescription s
                            WHERE s.objoid = x.grantee AND s.classoid = 'pg_catalog.pg_authid'::regclass
                              AND pg_catalog.starts_with(s.description, 'tenantry.dev/access ' || asked.uid || ' '))))
                    UNION ALL
                    -- Settings of roles that nobody logs in as, and members that are none of ours.
                    SELECT pg_catalog.format('a setting of role %s', pg_catalog.pg_get_userbyid(s.setrole))
                    FROM pg_catalog.pg_db_role_setting s WHERE s.setrole IN (found.owner, found.role)
                    UNION ALL
                    SELECT pg_catalog.format('membership of %s in %s', m.rolname, pg_catalog.pg_get_userbyid(a.roleid))
                    FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid = a.member
                    WHERE a.roleid IN (found.owner, found.role) AND (a.set_option OR a.inherit_option)
                      AND NOT EXISTS (
                          SELECT FROM pg_catalog.pg_shdescription s
                          WHERE s.objoid = a.member AND s.classoid = 'pg_catalog.pg_authid'::regclass
                            AND pg_catalog.starts_with(s.description, 'tenantry.dev/access ' || asked.uid || ' '))
                      AND a.member IS DISTINCT FROM found.migrator AND a.member IS DISTINCT FROM found.traffic
                      AND NOT pg_catalog.starts_with(m.rolname::text, 'tenantry_provisioner_')
                      AND NOT (a.roleid = found.role AND pg_catalog.starts_with(m.rolname::text, 'tenantry_shard_'))
                ) all_of_it WHERE what IS NOT NULL ORDER BY what LIMIT 20
            ) f WHERE found.schema IS NOT NULL)
    ) AS document
    OFFSET 0
) look
CROSS JOIN LATERAL (
    SELECT look.document, hashtextextended(look.document::text, 0) AS digest OFFSET 0
) content
ORDER BY asked.place
