//! The routes, declared once: axum serves them and the OpenAPI page is generated from them.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder, Responses};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::state::AdminState;
use super::{
    accounts, backup, callbacks, costs, events, export, files, health, jobs, list, logs, metrics, moves, purge, reload,
    schedules, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "opros",
        description = "The admin socket of opros: HTTP/1.1 and JSON on a Unix socket. What is refused is \
                       application/problem+json (RFC 9457); times are RFC 3339 with milliseconds, UTC."
    ),
    tags(
        (name = "jobs", description = "Requests to vendors, each carried to its final answer"),
        (name = "callbacks", description = "What vendors sent by themselves, and whose it is"),
        (name = "events", description = "Facts, numbered without gaps"),
        (name = "webhooks", description = "Webhooks and commands: who is told of events, and how far"),
        (name = "accounts", description = "Credentials at vendors, with their limits and moods"),
        (name = "operation", description = "For those who run it"),
    )
)]
struct Contract;

fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::with_openapi(Contract::openapi())
        .routes(routes!(jobs::submit, list::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::timeline))
        .routes(routes!(moves::cancel))
        .routes(routes!(moves::release))
        .routes(routes!(moves::retry))
        .routes(routes!(moves::resolve))
        .routes(routes!(files::list))
        .routes(routes!(files::fetch))
        .routes(routes!(callbacks::list))
        .routes(routes!(callbacks::assign))
        .routes(routes!(events::events))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::pause))
        .routes(routes!(accounts::resume))
        .routes(routes!(purge::purge))
        .routes(routes!(schedules::list))
        .routes(routes!(export::export))
        .routes(routes!(backup::backup))
        .routes(routes!(reload::reload))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::replay))
        .routes(routes!(webhooks::resend))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::enable))
        .routes(routes!(costs::costs))
        .routes(routes!(health::health))
        .routes(routes!(logs::look, logs::change, logs::reset))
        .routes(routes!(metrics::metrics))
        .routes(routes!(metrics::metrics_v1))
        .routes(routes!(contract_page))
        .routes(routes!(contract_page_v1))
}

static PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(openapi()));

/// This page.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "The contract, OpenAPI 3.1", body = Object))
)]
async fn contract_page() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], PAGE.clone()).into_response()
}

/// This page.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "operation",
    responses((status = 200, description = "The contract, OpenAPI 3.1", body = Object))
)]
async fn contract_page_v1() -> Response {
    contract_page().await
}

/// The contract as JSON, OpenAPI 3.1.
pub fn openapi() -> String {
    let mut contract = routes().into_openapi();
    for item in contract.paths.paths.values_mut() {
        for operation in [&mut item.get].into_iter().flatten() {
            refusals(&mut operation.responses, &REFUSALS);
        }
        for operation in [&mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            refusals(&mut operation.responses, &REFUSALS_OF_CHANGES);
            refusals(&mut operation.responses, &REFUSALS);
        }
    }
    // On TCP; the sockets ask for none.
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("admin.token or admin.read_token, over admin.listen"));
    let components = contract.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    contract.security =
        Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", Vec::<String>::new())]);
    // Made of texts and numbers: it can always be written.
    contract.to_json().unwrap_or_default()
}

/// What every path may answer, whatever it does.
const REFUSALS: [(&str, &str); 6] = [
    ("400", "The query or the path cannot be read"),
    ("401", "On admin.listen: no token, or a wrong one"),
    ("403", "A browser sent it for a page of another site (`cross_site`)"),
    ("500", "opros made a mistake, or its store is broken"),
    ("421", "The `Host` is not a name of this daemon's (`wrong_host`)"),
    ("503", "The store cannot be read, or there is no room at the moment"),
];

/// And those that have a body or change something.
const REFUSALS_OF_CHANGES: [(&str, &str); 5] = [
    (
        "403",
        "On admin.read_socket, or with the token for reading: nothing can be changed here (`read-only`); or a browser sent it for a page \
         of another site, or without `Opros-Request: 1` (`cross_site`)",
    ),
    ("408", "The body stopped coming"),
    ("413", "The body is too large"),
    ("415", "The content type is not read here"),
    ("422", "The body is JSON, and not what is wanted"),
];

/// Adds those that an operation does not describe in its own words.
fn refusals(responses: &mut Responses, known: &[(&str, &str)]) {
    for (status, words) in known {
        if !responses.responses.contains_key(*status) {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new().description(*words).content("application/problem+json", content);
            responses.responses.insert((*status).to_owned(), response.build().into());
        }
    }
}

/// Everything that the admin socket serves.
pub fn router(state: AdminState) -> Router {
    let (router, _) = routes().split_for_parts();
    router.fallback(no_such_path).method_not_allowed_fallback(wrong_method).with_state(state)
}

async fn no_such_path(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return wrong_method(method, uri).await;
    }
    let path: String = uri.path().chars().take(100).collect();
    Problem::not_found(format!("nothing is served at {path:?}; see /openapi.json")).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let method: String = method.as_str().chars().take(20).collect();
    let path: String = uri.path().chars().take(100).collect();
    Problem::wrong_method(format!("{path:?} does not know {method}; see Allow and /openapi.json")).into_response()
}
