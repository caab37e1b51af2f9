//! The client of the admin socket: HTTP/1.1 over a Unix socket, or over TCP with a token; one connection a request.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Body, Method, RequestBuilder, Response, Url, header, redirect};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::problem::Problem;
use super::reach::Reach;
use super::socket;

/// A plain call reads or writes a few rows; a daemon that takes longer is in trouble.
const CALL: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// A job's result may have 16 MiB, and a page holds several.
const LARGEST_ANSWER: usize = 512 << 20;

pub struct Client {
    http: reqwest::Client,
    reach: Reach,
    /// For one answer.
    patience: Duration,
}

/// A whole answer that is a success.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        read(&self.body)
    }
}

/// Reads what opros said.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::Broken(format!("opros answered what this version does not understand: {error}")))
}

impl Client {
    #[expect(
        clippy::disallowed_methods,
        reason = "src/http.rs speaks to vendors; this client speaks to our own socket"
    )]
    pub fn reach(reach: Reach) -> Result<Client, Failure> {
        let builder = reqwest::Client::builder();
        let builder = match &reach {
            Reach::Socket(path) => builder.unix_socket(path.as_path()),
            Reach::Tcp { .. } => builder,
        };
        let encrypted = matches!(&reach, Reach::Tcp { url, .. } if url.scheme() == "https");
        // Where nothing is encrypted, the machine's certificates would be read for nothing at every start.
        let builder = if encrypted { builder } else { builder.tls_certs_only([]) };
        let http = builder
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .gzip(false)
            // A restarted daemon must not meet requests on a connection of its predecessor: they could be sent twice.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("opros-cli/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::Broken(format!("cannot make an HTTP client: {error}")))?;
        Ok(Client { http, reach, patience: CALL })
    }

    /// With another patience for each answer.
    pub fn with_patience(self, patience: Duration) -> Client {
        Client { patience, ..self }
    }

    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// At its socket.
    pub fn new(socket: PathBuf) -> Result<Client, Failure> {
        Client::reach(Reach::Socket(socket))
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer, Failure> {
        self.call(self.request(Method::GET, path).query(query).timeout(self.patience)).await
    }

    pub async fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Answer, Failure> {
        self.call(self.request(Method::POST, path).json(body).timeout(self.patience)).await
    }

    /// What may cost money: with the same token it is done once.
    pub async fn order(
        &self,
        path: &[&str],
        body: &impl Serialize,
        uid: &str,
        within: Duration,
    ) -> Result<Answer, Failure> {
        let key = header::HeaderValue::from_bytes(quoted(uid).as_bytes())
            .map_err(|_| Failure::Usage("--uid must have no control characters".to_owned()))?;
        let request = self.request(Method::POST, path).header("Idempotency-Key", key);
        self.call(request.json(body).timeout(within)).await
    }

    pub async fn put(&self, path: &[&str], body: &impl Serialize) -> Result<Answer, Failure> {
        self.call(self.request(Method::PUT, path).json(body).timeout(self.patience)).await
    }

    pub async fn delete(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.call(self.request(Method::DELETE, path).timeout(self.patience)).await
    }

    /// Of any status: what `/v1/health` says with 503 is an answer too.
    pub async fn get_any(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.whole(self.request(Method::GET, path).timeout(self.patience)).await
    }

    /// A live stream; its head must come soon, its body may last for ever.
    pub async fn stream(&self, path: &[&str], query: &[(&str, String)], accept: &str) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path).query(query).header(header::ACCEPT, accept);
        let head = tokio::time::timeout(self.patience, request.send()).await.map_err(|_| self.too_slow())?;
        self.checked(head.map_err(|error| self.failure(error))?).await
    }

    /// A move whose answer may take its time; only the caller's patience ends it.
    pub async fn long(&self, path: &[&str]) -> Result<Response, Failure> {
        let request = self.request(Method::POST, path).json(&serde_json::json!({}));
        self.checked(request.send().await.map_err(|error| self.lost(error))?).await
    }

    /// Sends a body of unknown length. Sets no time-out: the caller sees whether both sides still move.
    pub async fn upload(&self, path: &[&str], content_type: &str, body: Body) -> Result<Response, Failure> {
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, content_type);
        let request = request.header(header::ACCEPT, content_type).body(body);
        self.checked(request.send().await.map_err(|error| self.lost(error))?).await
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = match &self.reach {
            Reach::Socket(_) => Url::parse("http://opros/").expect("a constant"),
            Reach::Tcp { url, .. } => url.clone(),
        };
        // Escapes what an account's name may hold.
        url.path_segments_mut().expect("http has paths").clear().extend(path);
        let request = self.http.request(method, url);
        match &self.reach {
            Reach::Socket(_) => request,
            Reach::Tcp { token, .. } => request.bearer_auth(token.expose_secret()),
        }
    }

    async fn call(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let answer = self.whole(request).await?;
        match answer.status {
            200..300 => Ok(answer),
            status => Err(Failure::Refused { status, problem: Problem::of(status, &answer.body) }),
        }
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.build().map_err(|error| self.failure(error))?;
        let is_harmless = request.method() == Method::GET;
        let answer = async {
            let response = self.http.execute(request).await.map_err(Lost::On)?;
            let status = response.status().as_u16();
            Ok(Answer { status, body: self.body_of(response).await? })
        };
        answer.await.map_err(|lost| match lost {
            Lost::On(error) if is_harmless => self.failure(error),
            Lost::On(error) => self.lost(error),
            Lost::Otherwise(failure) => failure,
        })
    }

    async fn checked(&self, response: Response) -> Result<Response, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        // It was refused: what is not told in time are the words for it.
        let body = tokio::time::timeout(self.patience, self.body(response)).await.ok().and_then(Result::ok);
        let body = body.unwrap_or_default();
        Err(Failure::Refused { status, problem: Problem::of(status, &body) })
    }

    async fn body(&self, response: Response) -> Result<String, Failure> {
        self.body_of(response).await.map_err(|lost| match lost {
            Lost::On(error) => self.failure(error),
            Lost::Otherwise(failure) => failure,
        })
    }

    async fn body_of(&self, mut response: Response) -> Result<String, Lost> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Lost::On)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                let words = "opros answered with more than 512 MiB".to_owned();
                return Err(Lost::Otherwise(Failure::Broken(words)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// What went wrong on the way, where more than a look was asked for: unless nobody was there to be asked, it may have
    /// been done.
    pub fn lost(&self, error: reqwest::Error) -> Failure {
        let connecting = error.is_connect();
        match self.failure(error) {
            Failure::Unreachable(words) | Failure::Broken(words) if !connecting => Failure::Unanswered(words),
            failure => failure,
        }
    }

    /// What went wrong on the way, in words.
    pub fn failure(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return self.too_slow();
        }
        let connecting = error.is_connect();
        let error = error.without_url();
        let mut cause = error.source();
        let mut root = error.to_string();
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>().filter(|_| connecting) {
                return Failure::Unreachable(match &self.reach {
                    Reach::Socket(path) => socket::explain(path, io),
                    Reach::Tcp { .. } => {
                        let at = self.reach.shown();
                        format!(
                            "opros is not answering at {at}: {io}. Is it running, with admin.listen at that address?"
                        )
                    }
                });
            }
            root = inner.to_string();
            cause = inner.source();
        }
        Failure::Broken(format!("the connection to opros at {} broke: {root}", self.reach.shown()))
    }

    pub fn too_slow(&self) -> Failure {
        let (at, limit) = (self.reach.shown(), self.patience.as_secs_f64());
        Failure::Unreachable(format!("opros at {at} did not answer within {limit} s. See: systemctl status opros"))
    }
}

/// As a header carries a text with whatever is in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An answer that did not come whole.
enum Lost {
    On(reqwest::Error),
    Otherwise(Failure),
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("reach", &self.reach).finish_non_exhaustive()
    }
}
