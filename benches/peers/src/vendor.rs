//! A vendor that answers at once: Tronk's pages, and Alta's page with one list for every method.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::Failure;

pub async fn serve() -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(request).await) });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let text = match (parts.uri.path(), value("mode")) {
        ("/rail_tracking/api_v2.php", _) => {
            let _ = body.collect().await;
            r#"[{"status":"ok"},{"carrs":["AMFU8899067"],"group_id":1519743}]"#.to_owned()
        }
        (_, Some("setqueue")) => {
            let subject = value("phone").unwrap_or_default();
            format!(r#"{{"phone":"{subject}","error":null,"status":0,"id":{subject},"msg":0}}"#)
        }
        _ => {
            let subject = value("id").unwrap_or_default();
            format!(
                r#"{{"error":null,"status":1,"id":{subject},"msg":"ok","url":"https://tronk.example/{subject}","resultJson":"{{\"phone\":\"{subject}\",\"cars\":[]}}"}}"#
            )
        }
    };
    let mut response = Response::new(Full::from(text));
    let json = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}
