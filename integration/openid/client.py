"""Drives Authlib for the tests. Each line of standard input is a call in JSON, each line
of standard output its answer: {"result": …} or {"error": {"code", "message"}}."""

import json
import sys
import time
from urllib.parse import parse_qsl, urlsplit

from authlib.integrations.base_client import BaseApp, FrameworkIntegration, OAuth2Mixin, OpenIDMixin
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey


class Framework(FrameworkIntegration):
    """None: tokens are kept by the tests."""

    def update_token(self, token, refresh_token=None, access_token=None):
        pass


class App(OAuth2Mixin, OpenIDMixin, BaseApp):
    """What Authlib's clients for Flask and Django are made of."""

    client_cls = OAuth2Session


class Client:
    def __init__(self):
        self.flows = {}  # by state

    def configure(self, **c):
        self.c = c
        secret, methods = c.get("secret"), []
        if c["method"] == "private_key_jwt":
            kind = ECKey if c["key_alg"].startswith("ES") else RSAKey
            secret = kind.import_key(c["key"], {"kid": c["kid"]})
            methods = [PrivateKeyJWT(alg=c["key_alg"], headers={"kid": c["kid"]})]
        self.app = App(
            Framework("test"), "test", client_id=c["client_id"], client_secret=secret, client_auth_methods=methods,
            server_metadata_url=c["issuer"] + "/.well-known/openid-configuration",
            client_kwargs={
                "scope": c["scope"], "code_challenge_method": "S256", "redirect_uri": c["redirect_uri"],
                "token_endpoint_auth_method": c["method"], "revocation_endpoint_auth_method": c["method"],
            },
        )
        return self.app.load_server_metadata()

    def begin(self, params):
        flow = self.app.create_authorization_url(**{"redirect_uri": self.c["redirect_uri"], **params})
        self.flows[flow["state"]] = flow
        return {"url": flow["url"], "state": flow["state"]}

    def finish(self, state, url, form=None, verifier=None):
        flow, answer = self.flows[state], dict(parse_qsl(urlsplit(url).query if form is None else form))
        if "error" in answer:
            raise OAuthError(error=answer["error"], description=answer.get("error_description"))
        # Authlib leaves these two to its caller.
        if answer.get("iss") != self.app.server_metadata["issuer"]:
            raise OAuthError(error="wrong_iss", description=f"the answer comes from {answer.get('iss')}")
        if answer.get("state") != state:
            raise OAuthError(error="mismatching_state")
        return self.tokens(self.app.fetch_access_token(
            self.c["redirect_uri"], code=answer["code"], state=state, code_verifier=verifier or flow["code_verifier"],
        ), flow["nonce"])

    def tokens(self, token, nonce):
        # Authlib checks the audience only if it is told to.
        wanted = {"iss": {"value": self.app.server_metadata["issuer"]}, "aud": {"essential": True, "value": self.c["client_id"]}}
        claims = self.app.parse_id_token(token, nonce, claims_options=wanted) if "id_token" in token else None
        return {**token, "claims": claims}

    def userinfo(self, token, sub):
        bearer = {"access_token": token, "token_type": "Bearer"}
        if self.c.get("userinfo_alg"):
            response = self.app.get(self.app.server_metadata["userinfo_endpoint"], token=bearer)
            response.raise_for_status()
            if response.headers["Content-Type"].partition(";")[0] != "application/jwt":
                raise OAuthError(error="unsigned", description=response.headers["Content-Type"])
            claims = self.verify(response.text, self.c["userinfo_alg"]).claims
        else:
            claims = self.app.userinfo(token=bearer)
        if claims["sub"] != sub:
            raise OAuthError(error="wrong_sub")
        return claims

    def refresh(self, token):
        with self.session() as session:
            return self.tokens(session.refresh_token(self.app.server_metadata["token_endpoint"], refresh_token=token), None)

    def introspect(self, token):
        with self.session() as session:
            response = session.introspect_token(self.app.server_metadata["introspection_endpoint"], token=token)
        response.raise_for_status()
        return response.json()

    def revoke(self, token):
        with self.session() as session:
            response = session.revoke_token(self.app.server_metadata["revocation_endpoint"], token=token)
        response.raise_for_status()
        return {}

    def session(self):
        return self.app._get_oauth_client(**self.app.load_server_metadata())

    def end_session(self, params):
        return {"url": self.app.create_logout_url(**params)["url"]}

    def logout_token(self, token):
        parsed = self.verify(token, self.c["alg"])
        jwt.JWTClaimsRegistry(
            now=int(time.time()), iss={"essential": True, "value": self.app.server_metadata["issuer"]},
            aud={"essential": True, "value": self.c["client_id"]}, jti={"essential": True}, exp={"essential": True},
            iat={"essential": True}, events={"essential": True},
        ).validate(parsed.claims)
        return {**parsed.claims, "header": parsed.header}

    def verify(self, token, alg):
        """joserfc is the part of Authlib that verifies JWTs."""
        return jwt.decode(token, KeySet.import_key_set(self.app.fetch_jwk_set(force=True)), algorithms=[alg])


client = Client()
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"result": getattr(client, request["call"])(**request["args"])}
    except Exception as err:
        code = getattr(err, "error", None) or type(err).__name__
        response = getattr(err, "response", None)
        if response is not None:
            code = str(response.status_code)
        answer = {"error": {"code": code, "message": str(err)}}
    print(json.dumps(answer), flush=True)
