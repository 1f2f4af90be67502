"""Patterns of other products: each is refused, with what it is here."""

from pathlib import Path

import pytest

from tests.config.reading import load_rules_text, rules_problems


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("/v1/*", "/v1/{rest...}"),
        ("/v1/**", "/v1/{rest...}"),
        ("/*", "/{rest...}"),
        ("*", "/{rest...}"),
        (".*", "/{rest...}"),
        ("/v1/*/items", "/v1/{id}/items"),
        ("/v1/*/*", "/v1/{id}/{rest...}"),
        ("/v1/orders*", "/v1/orders/{rest...}"),
        ("/v1/*path", "/v1/{path...}"),
        ("/v1/*.json", "/v1/{id}"),
        ("/v1/:id", "/v1/{id}"),
        ("/v1/:id?", "/v1/{id}"),
        ("/v1/:user_id/items/:item", "/v1/{user_id}/items/{item}"),
        ("/v1/:files+", "/v1/{files...}"),
        (r"/v1/:id(\d+)", "/v1/{id}"),
        ("/v1/:id.json", "/v1/{id}"),
        ("/v1/order-:id", "/v1/{id}"),
        ("/v1[/:id]", "/v1/{id}"),
        ("/v1(/:id)", "/v1/{id}"),
        ("/v1/(.*)", "/v1/{rest...}"),
        ("/v1/.+", "/v1/{rest...}"),
        ("/v1/orders(.*)", "/v1/orders/{rest...}"),
        ("/v1/orders(.:format)", "/v1/orders"),
        ("^/v1/orders/?$", "/v1/orders"),
        ("^/v1/orders/([^/]+)$", "/v1/orders/{id}"),
        (r"~ ^/v1/orders/\d+$", "/v1/orders/{id}"),
        ("/v1/(?P<order>[^/]+)/items", "/v1/{order}/items"),
        ("/v1/[0-9]+", "/v1/{id}"),
        ("/v1/$id", "/v1/{id}"),
        ("/v1/${id}", "/v1/{id}"),
        ("/v1/orders$", "/v1/orders"),
        ("/v1/<id>", "/v1/{id}"),
        ("/v1/<int:id>", "/v1/{id}"),
        ("/v1/<id:int>/x", "/v1/{id}/x"),
        ("/v1/<path:file>", "/v1/{file...}"),
        ("/v1/{id:[0-9]+}", "/v1/{id}"),
        (r"/v1/{id:\d{4}}", "/v1/{id}"),
        ("/v1/{id:[^/]+}/x", "/v1/{id}/x"),
        ("/v1/{id:int}", "/v1/{id}"),
        ("/v1/{id?}", "/v1/{id}"),
        ("/v1/{order-id}", "/v1/{order_id}"),
        ("/v1/{file:path}", "/v1/{file...}"),
        ("/v1/{file:.*}", "/v1/{file...}"),
        ("/v1/{*file}", "/v1/{file...}"),
        ("/v1/{proxy+}", "/v1/{proxy...}"),
        ("/v1/{{id}}", "/v1/{id}"),
        ("/v1/{id=*}", "/v1/{id}"),
        ("/v1/{file=**}", "/v1/{file...}"),
        ("/v1/orders#all", "/v1/orders"),
        ("/v1/{id}.json", "/v1/{id}"),
        ("/v1/[id]", "/v1/{id}"),
        ("/v1/[...slug]", "/v1/{slug...}"),
        ("/v1/...", "/v1/{rest...}"),
        ("/v1/{id}/:id", "/v1/{id}/{id_}"),
        ("/v1/", "/v1"),
        ("/v1/orders?page={n}", "/v1/orders"),
        ("GET /v1/orders/{id}", "/v1/orders/{id}"),
        ("https://api.example/v1/*", "/v1/{rest...}"),
        ("/%41", "/A"),
        ("/v1/+", "/v1/{id}"),
        ("/v1/+/lines/#", "/v1/{id}/lines/{rest...}"),
        ("/v1/order-$id", "/v1/{id}"),
        ("/v1/orders.$id", "/v1/{id}"),
        (r"^\/v1\/orders\.json$", "/v1/orders.json"),
        (r"\/v1\/.*", "/v1/{rest...}"),
        ("(?i)^/v1/orders", "/v1/orders"),
        ("/v1/[a-z]", "/v1/{id}"),
        ("/v1/{id:[a-z]{2,4}}", "/v1/{id}"),
        ("/v1/orders(/|$)(.*)", "/v1/orders/{rest...}"),
        ("/v1/orders(/.*)?", "/v1/orders/{rest...}"),
        ("/v1/orders(?:/.*)?$", "/v1/orders/{rest...}"),
        ("Path(`/v1/{id}`)", "/v1/{id}"),
        ("PathPrefix(`/v1`)", "/v1/{rest...}"),
    ],
)
def test_a_pattern_of_another_product_is_refused_with_the_spelling_that_is_right_here(
    tmp_path: Path, pattern: str, meant: str
) -> None:
    quoted = pattern.replace("'", "''")
    (problem,) = rules_problems(tmp_path, f"endpoints: [{{name: e, path: '{quoted}'}}]\n")
    assert problem.startswith("rules.yaml:1:29: endpoints[0].path: ")
    assert problem.endswith(f" (did you mean {meant!r}?)")


@pytest.mark.parametrize("pattern", ["/v1/(orders|items)", "/v1/{orders,items}", "/a b", "/a/..", "/v1/%s"])
def test_what_is_no_single_path_has_no_hint(tmp_path: Path, pattern: str) -> None:
    (problem,) = rules_problems(tmp_path, f"endpoints: [{{name: e, path: '{pattern}'}}]\n")
    assert "did you mean" not in problem


def test_the_message_says_how_parameters_and_the_character_itself_are_written(tmp_path: Path) -> None:
    (problem,) = rules_problems(tmp_path, "endpoints: [{name: e, path: /odata/$metadata}]\n")
    assert problem.startswith(
        "rules.yaml:1:29: endpoints[0].path: '$metadata' looks like a pattern of another product; here, {id} is one "
        "segment, and {rest...} at the end is all that follow; if the path really has '$', write %24"
    )


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("/%24metadata", "$metadata"),
        ("/%2A", "*"),
        ("/%2a%2A", "**"),
        ("/%3Aid", ":id"),
        ("/a%28b", "a(b"),
        ("/C.%2B", "C.+"),
        ("/orders:cancel", "orders:cancel"),
        ("/Products(7)", "Products(7)"),
        ("/People('ana')", "People('ana')"),
        ("/urn:isbn:7", "urn:isbn:7"),
        ("/a$b", "a$b"),
        ("/%2B", "+"),
        ("/c++", "c++"),
        ("/@scope", "@scope"),
        ("/~user", "~user"),
    ],
)
def test_a_path_that_really_has_such_a_character_can_be_written(tmp_path: Path, text: str, segment: str) -> None:
    template = load_rules_text(tmp_path, f'endpoints: [{{name: e, path: "{text}"}}]\n').rules.endpoints["e"].template
    assert template is not None
    assert (template.text, template.segments) == (text, (segment,))
