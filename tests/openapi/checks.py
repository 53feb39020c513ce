"""What schemathesis checks besides its own: no request may break the service, and none may make it wait for long."""

import schemathesis


@schemathesis.check
def no_internal_error(ctx, response, case):
    # 503 and 504 are answers of this service, and described; 500 is a defect.
    assert response.status_code != 500, response.text


@schemathesis.hook
def map_query(ctx, query):
    # A wait for a commit that never comes lasts as long as it is allowed to, ten seconds where nothing is said.
    if ctx.operation.path.endswith("/wait") and query:
        allowed = query.get("timeout_ms", 10000)
        if isinstance(allowed, int) and 50 < allowed <= 60000:
            query["timeout_ms"] = 50
    return query
