-- What changes who controls an account is told to the address that it had: mail that opens nothing, on the way of the mail that does.
ALTER TABLE tenantry.auth_token DROP CONSTRAINT auth_token_kind_check;
ALTER TABLE tenantry.auth_token ADD CONSTRAINT auth_token_kind_check
    CHECK (kind IN ('Verify', 'Recover', 'Invite', 'ChangeEmail', 'Notice'));
-- Of a notice: what happened.
ALTER TABLE tenantry.auth_token ADD COLUMN events text;
-- Of a verification: what the sign-up that it belongs to asked for, where the account was there already. It is the account's when the
-- verification is redeemed, and not before.
ALTER TABLE tenantry.auth_token ADD COLUMN brings json;
