//! Where the daemon is reached: at its socket, or over TCP with a token.

use std::net::IpAddr;
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
        if parsed.scheme() == "http" && !is_loopback(&parsed) && !globals.allow_remote {
            return Err(Failure::Usage(format!(
                "--url {url} is plain http to another machine: the token and all data would be readable on the way. Use https, or a tunnel \
                 (ssh -L 8078:127.0.0.1:8078) and http://127.0.0.1:8078; or, in a network that you trust, say --allow-remote"
            )));
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

/// By what it says: a name is not looked up, for that could say one thing now and another a moment later.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.strip_suffix('.').unwrap_or(host);
            name == "localhost" || name.ends_with(".localhost")
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

#[cfg(test)]
mod tests {
    use super::{Reach, Sources};
    use crate::cli::args::Globals;

    #[test]
    fn a_token_goes_in_plain_text_to_this_machine_alone_unless_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        let reach = |url: &str, allow_remote| {
            let globals = Globals {
                url: Some(url.to_owned()),
                token_file: Some(file.clone()),
                allow_remote,
                ..Globals::default()
            };
            Reach::of(&globals, &Sources::from_text(""))
        };
        let near = [
            "http://127.0.0.1:8078",
            "http://127.1:8078",
            "http://[::1]:8078",
            "http://[::ffff:127.0.0.1]:8078",
            "http://localhost:8078",
            "http://LOCALHOST.:8078",
            "http://a.localhost:8078",
            "https://opros.example",
            "https://192.0.2.7",
        ];
        for url in near {
            assert!(reach(url, false).is_ok(), "{url}");
        }
        let far = [
            "http://192.0.2.7:8078",
            "http://10.0.0.1",
            "http://opros.lan:8078",
            "http://localhost.evil.com",
            "http://127.0.0.1.evil.com",
            "http://0.0.0.0:8078",
            "http://[::]:8078",
            "http://[fe80::1]:8078",
            "http://evillocalhost",
        ];
        for url in far {
            let error = reach(url, false).unwrap_err().to_string();
            assert!(error.contains("plain http to another machine"), "{url}: {error}");
            assert!(reach(url, true).is_ok(), "{url}");
        }
    }
}
