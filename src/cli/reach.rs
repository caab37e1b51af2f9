//! Where the daemon is reached: at its socket, or over TCP with a token.

use std::path::PathBuf;

use reqwest::Url;
use secrecy::SecretString;

use super::args::Globals;
use super::failure::Failure;
use crate::config::Sources;

#[derive(Debug, Clone)]
pub enum Reach {
    Socket(PathBuf),
    Tcp { url: Url, token: SecretString },
}

impl Reach {
    /// By `--url`, or else the socket.
    pub fn of(globals: &Globals, sources: &Sources) -> Result<Reach, Failure> {
        // Also where it is not needed: whoever names a file means what is in it.
        if let Some(problem) = sources.named_file_problem() {
            return Err(Failure::Usage(problem));
        }
        let Some(url) = globals.url.as_deref().filter(|url| !url.is_empty() && globals.socket.is_none()) else {
            return Ok(Reach::Socket(sources.client_socket()));
        };
        let wrong = || Failure::Usage(format!("--url {url:?} is no address such as http://127.0.0.1:8078"));
        let parsed = Url::parse(url).map_err(|_| wrong())?;
        let is_bare = matches!(parsed.path(), "" | "/") && parsed.query().is_none() && parsed.username().is_empty();
        if !matches!(parsed.scheme(), "http" | "https") || !is_bare || parsed.password().is_some() {
            return Err(wrong());
        }
        Ok(Reach::Tcp { url: parsed, token: token(globals)? })
    }

    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Reach::Socket(path) => path.display().to_string(),
            Reach::Tcp { url, .. } => url.as_str().trim_end_matches('/').to_owned(),
        }
    }
}

fn token(globals: &Globals) -> Result<SecretString, Failure> {
    let needed = "--url needs the daemon's admin.token: --token-file FILE, or the variable OPROS_TOKEN_FILE";
    let path = globals.token_file.as_ref().ok_or_else(|| Failure::Usage(needed.to_owned()))?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("the token's file {} cannot be read: {error}", path.display())))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Usage(format!("the file {} holds no token: it must be one line", path.display())));
    }
    Ok(SecretString::from(token))
}
