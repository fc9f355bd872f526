-- By which login a tenant is served: `Shared` by that of its shard, `Dedicated` by one that is a member of this tenant's role alone.
-- The operator writes it beside the memberships, in the same transaction.
ALTER TABLE tenantry.tenant ADD COLUMN connections text NOT NULL DEFAULT 'Shared'
    CHECK (connections IN ('Shared', 'Dedicated')),
    -- Since when: replicas have heard of it some seconds later.
    ADD COLUMN connections_since timestamptz NOT NULL DEFAULT now();

-- The logins that may become `role`, but for superusers and for `own`, each with a grantor of the way there. Whoever reaches the role by
-- memberships is asked for, so this costs as much as the role has members, and not as much as there are logins.
CREATE FUNCTION tenantry.may_become(role name, own name) RETURNS TABLE (login name, grantor name)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE reach AS (
        SELECT m.member, m.grantor FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE r.rolname = role
        UNION
        SELECT m.member, m.grantor FROM pg_auth_members m JOIN reach ON m.roleid = reach.member
    )
    SELECT DISTINCT ON (l.rolname) l.rolname, pg_get_userbyid(reach.grantor)
    FROM reach JOIN pg_roles l ON l.oid = reach.member
    WHERE l.rolcanlogin AND NOT l.rolsuper AND l.rolname <> own AND pg_has_role(l.oid, role, 'SET')
    ORDER BY l.rolname, reach.grantor
$$;

-- Fails the transaction where somebody else may become `role`: a REVOKE takes away what its own grantor gave, and no more.
CREATE FUNCTION tenantry.refuse_others(role name, own name) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    others text;
BEGIN
    SELECT string_agg(format('login %s may become %s, as granted by %s', o.login, role, o.grantor), '; ') INTO others
    FROM tenantry.may_become(role, own) o;
    IF others IS NOT NULL THEN
        RAISE EXCEPTION '%', others USING ERRCODE = 'TN002';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION tenantry.may_become(name, name), tenantry.refuse_others(name, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.may_become(name, name), tenantry.refuse_others(name, name) TO tenantry_provisioners;
