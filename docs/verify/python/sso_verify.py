"""Verifies the assertion of caddy-sso, as the Go package gateway/signing/verify does. How to use it: docs/verify.md.

It needs Python 3.9 and the package cryptography.
"""
import re, time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.hashes import SHA256

from sso_keys import Invalid, Keys, KeysUnavailable, decode, need, read_object, typed

MAX_TOKEN = 64 << 10  # bytes
FORBIDDEN = ("crit", "b64", "enc", "zip", "jwk", "jku", "x5c", "x5u")  # they bring keys, or change what is signed
REQUIRED = ("iss", "aud", "sub", "iat", "nbf", "exp")
CLAIMS = {str: "iss aud sub preferred_username name given_name family_name email template sid idp acr jti",
          bool: "email_verified", list: "roles groups amr", int: "iat nbf exp auth_time"}


class Verifier:
    """Verifies the assertions of one site. A program makes one, since it keeps the keys. Threads can share it."""

    def __init__(self, issuer, audience, jwks_url, *, algorithms=("ES256",), skew=30, header="X-Sso-Assertion"):
        if not issuer or not audience or not algorithms or not set(algorithms) <= {"ES256", "RS256"} or skew < 0:
            raise ValueError("issuer and audience are required, algorithms are ES256 and RS256, skew is not negative")
        self.issuer, self.audience, self.algorithms, self.skew, self.header = issuer, audience, algorithms, skew, header
        self.keys = Keys(jwks_url)

    def verify_values(self, values):
        """Verifies the values of all headers of the assertion's name."""
        need(values, "no assertion")
        need(len(values) == 1, f"{len(values)} headers of the name")
        return self.verify(values[0])

    def verify(self, token):
        """Returns the claims; one that is missing is empty. Raises Invalid or KeysUnavailable."""
        need(len(token) <= MAX_TOKEN, f"more than {MAX_TOKEN} bytes")
        need(re.fullmatch(r"[A-Za-z0-9_.-]*", token), "not a compact JWS")
        need(token.count(".") == 2, "not three parts")
        header, payload, signature = map(decode, token.split("."), ("header", "payload", "signature"))
        header = read_object(header, "header")
        for name in FORBIDDEN:
            need(name not in header, f"header parameter {name} is not allowed")
        alg, kid, typ = (typed(header, name, str, "header parameter") for name in ("alg", "kid", "typ"))
        need(typ == "JWT", "header parameter typ is not JWT")
        need(kid, "header parameter kid is missing")
        need(alg in self.algorithms, "no compact JWS with an accepted algorithm")
        key_alg, key = self.keys.find(kid)
        need(alg == key_alg, "algorithm is not the key's")
        signed = token.rpartition(".")[0].encode()
        try:
            if alg == "RS256":
                key.verify(signature, signed, padding.PKCS1v15(), SHA256())
            else:
                need(len(signature) == 64, "signature is not valid")
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise Invalid("signature is not valid") from None
        return self.check(read_object(payload, "payload"), time.time())

    def check(self, claims, now):
        for name in REQUIRED:
            need(name in claims, f"claim {name} is missing")
        if type(claims["aud"]) is list and len(claims["aud"]) == 1:
            claims["aud"] = claims["aud"][0]
        who = {name: typed(claims, name, kind) for kind, names in CLAIMS.items() for name in names.split()}
        need(who["iss"] == self.issuer, f'issuer is "{who["iss"]}", not "{self.issuer}"')
        need(who["aud"] == self.audience, f'audience is "{who["aud"]}", not "{self.audience}"')
        need(who["sub"], "claim sub is empty")
        need(now < who["exp"] + self.skew, "expired: compare the clocks of this machine and the gateway")
        need(max(who["nbf"], who["iat"]) <= now + self.skew, "not valid yet: compare the clocks of this machine and the gateway")
        return who
