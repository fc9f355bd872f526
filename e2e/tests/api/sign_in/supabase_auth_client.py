"""Python's supabase_auth as it is published, against /auth/v1; nothing here knows of Tenantry."""

import os

from supabase_auth import SyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthSessionMissingError

URL, KEY = os.environ["SUPABASE_URL"] + "/auth/v1", os.environ["SUPABASE_KEY"]
EMAIL, PASSWORD = os.environ["EMAIL"], os.environ["PASSWORD"]


def client():
    headers = {"apikey": KEY, "Authorization": f"Bearer {KEY}"}
    return SyncGoTrueClient(url=URL, headers=headers, auto_refresh_token=False)


def refused(call, *codes):
    try:
        call()
    except (AuthApiError, AuthSessionMissingError) as error:
        assert error.code in codes, (error.code, error)
        return
    raise AssertionError("not refused")


first = client()
refused(lambda: first.sign_in_with_password({"email": EMAIL, "password": "wrong"}), "invalid_credentials")
signed = first.sign_in_with_password({"email": EMAIL, "password": PASSWORD})
claims = first.get_claims()
assert (claims["headers"]["alg"], claims["claims"]["sub"]) == ("ES256", signed.user.id), claims

second = client()
taken = second.set_session(signed.session.access_token, signed.session.refresh_token)
assert taken.user.id == signed.user.id
assert second.mfa.get_authenticator_assurance_level().current_level == "aal1"
user = second.get_user().user
assert [identity.provider for identity in user.identities] == ["email"], user
assert user.email_confirmed_at and user.last_sign_in_at, user

second.sign_out({"scope": "global"})
refused(lambda: first.get_user(), "session_not_found")
refused(lambda: first.refresh_session(signed.session.refresh_token), "refresh_token_not_found")
print("ok")
