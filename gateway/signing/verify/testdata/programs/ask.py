# Answers questions about assertions: see verifiers_test.go.
import asyncio, json, logging, sys, time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, sys.argv[1] + "/python")
sys.dont_write_bytecode = True
import sso_middleware, sso_verify

logging.disable()
loop = asyncio.new_event_loop()
time.time = time.monotonic = lambda: question["now"]


def by_wsgi(values):
    statuses = []

    def app(environ, start_response):
        assert environ["REMOTE_USER"] == environ["sso.identity"]["preferred_username"]
        start_response("200 OK", [])
        return []
    environ = {"HTTP_X_SSO_ASSERTION": ",".join(values)} if values else {}
    list(sso_middleware.wsgi(app, verifier)(environ, lambda status, headers: statuses.append(int(status[:3]))))
    return statuses


def by_asgi(values, kind):
    statuses = []

    async def app(scope, receive, send):
        statuses.append(200 if scope["sso.identity"]["sub"] else 0)

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        if message["type"] == "websocket.close":
            statuses.append(message["code"])
    scope = {"type": kind, "headers": [(b"x-sso-assertion", value.encode()) for value in values]}
    loop.run_until_complete(sso_middleware.asgi(app, verifier)(scope, None, send))
    return statuses


def ask(values):
    try:
        return {"who": verifier.verify_values(values)}
    except (sso_verify.Invalid, sso_verify.KeysUnavailable) as e:
        return {"error": str(e), "unavailable": isinstance(e, sso_verify.KeysUnavailable)}


for line in sys.stdin:
    question = json.loads(line)
    if "url" in question:
        try:
            verifier = sso_verify.Verifier(*sys.argv[2:4], question["url"], algorithms=question["algorithms"])
            print("[{}]", flush=True)
        except ValueError as e:
            print(json.dumps([{"error": str(e)}]), flush=True)
        continue
    with ThreadPoolExecutor(question["times"]) as pool:
        answers = list(pool.map(ask, [question["values"]] * question["times"]))
    values = question["values"]
    answers[0]["statuses"] = by_wsgi(values) + by_asgi(values, "http") + by_asgi(values, "websocket")
    print(json.dumps(answers), flush=True)
