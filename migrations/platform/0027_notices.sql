-- What ends with a user is what opens something. The notice that tells the address of the deletion goes on its way.
CREATE OR REPLACE FUNCTION tenantry.auth_document_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    subject text := NEW.doc_type || ' ' || NEW.doc_id;
BEGIN
    -- A new one of which nobody heard before has no tokens that could be out.
    IF NEW.operation = 'Put' AND NEW.doc_version = 1
        AND NOT EXISTS (SELECT FROM tenantry.auth_change c WHERE c.role = NEW.role AND c.id = subject) THEN
        RETURN NULL;
    END IF;
    PERFORM tenantry.note_auth_change(
        NEW.role, subject, NEW.doc_version,
        CASE WHEN NEW.operation = 'Put' THEN json_build_object(
            'roles', NEW.body -> 'roles', 'enabled', NEW.body -> 'enabled', 'claims', NEW.body -> 'claims') END);
    -- Whoever gets the id next is somebody else.
    IF NEW.operation = 'Delete' AND NEW.doc_type = 'user' THEN
        UPDATE tenantry.auth_session SET revoked_at = now()
            WHERE role = NEW.role AND user_id = NEW.doc_id::uuid AND revoked_at IS NULL;
        UPDATE tenantry.auth_token SET expires_at = least(expires_at, now()), due_at = NULL
            WHERE role = NEW.role AND user_id = NEW.doc_id::uuid AND kind <> 'Notice' AND expires_at > now();
    END IF;
    RETURN NULL;
END
$$;
