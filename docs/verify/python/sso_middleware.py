"""Guards WSGI and ASGI apps with sso_verify.Verifier. Requests without a valid assertion get 401 or 503."""
import asyncio, logging

import sso_verify


def judge(verifier, values):
    """Returns the person's claims, or None and the answer to send."""
    try:
        return verifier.verify_values(values), None
    except (sso_verify.Invalid, sso_verify.KeysUnavailable) as error:
        logging.getLogger(__name__).warning("request refused: %s", error)
        headers = [("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")]
        if isinstance(error, sso_verify.Invalid):
            return None, ("401 Unauthorized", headers, b"no valid sign-in assertion\n")
        headers.append(("retry-after", "10"))
        return None, ("503 Service Unavailable", headers, b"sign-in can't be verified at the moment\n")


def wsgi(app, verifier):
    """Gives a WSGI app environ["sso.identity"], and the user name as REMOTE_USER."""
    name = "HTTP_" + verifier.header.upper().replace("-", "_")

    def guarded(environ, start_response):
        # The server has joined two headers of the name by a comma, which is in no assertion.
        who, refusal = judge(verifier, [environ[name]] if name in environ else [])
        if refusal:
            start_response(*refusal[:2])
            return [refusal[2]]
        environ.update({"sso.identity": who, "REMOTE_USER": who["preferred_username"]})
        return app(environ, start_response)
    return guarded


def asgi(app, verifier):
    """Gives an ASGI app scope["sso.identity"], for requests and for WebSockets."""
    name = verifier.header.lower().encode()

    async def guarded(scope, receive, send):
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
        who, refusal = await asyncio.to_thread(judge, verifier, values)  # a fetch would stop the event loop
        if not refusal:
            return await app({**scope, "sso.identity": who}, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        status, headers, body = refusal
        headers = [(key.encode(), value.encode()) for key, value in headers]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
        await send({"type": "http.response.body", "body": body})
    return guarded
