//! A whole daemon in this thread, and what it logs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

use opros::app::Daemon;
use opros::cli::client::Client;
use opros::cli::reach::Reach;
use opros::clock::SystemClock;
use opros::config::{self, Sources};
use opros::telemetry::{Lines, Out, subscriber};
use secrecy::SecretString;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

pub const TOKEN: &str = "a-token-of-sixteen-letters-and-more";
pub const READ_TOKEN: &str = "a-token-that-reads-and-does-no-more";

pub struct House {
    pub dir: tempfile::TempDir,
    pub daemon: Daemon,
}

impl House {
    /// With a socket for reading and TCP; `more` are further sections.
    pub async fn open(more: &str) -> House {
        House::open_with("", more).await
    }

    /// The same with a further line of `[admin]`.
    pub async fn open_with(admin: &str, more: &str) -> House {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let text = format!(
            "[store]\npath = \"{at}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
             [admin]\nsocket = \"{at}/admin.sock\"\nread_socket = \"{at}/read.sock\"\nread_mode = \"0600\"\n\
             listen = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\nread_token = \"{READ_TOKEN}\"\n{admin}\n\
             [accounts.tronk]\nvendor = \"tronk\"\nkey = \"key\"\nbase_url = \"http://127.0.0.1:1\"\n{more}\n"
        );
        let config = config::load(&Sources::from_text(&text)).unwrap_or_else(|problems| panic!("{problems}"));
        let daemon = Daemon::start(&config, SystemClock::shared()).await.unwrap();
        House { dir, daemon }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> Client {
        Client::new(self.path("admin.sock")).unwrap()
    }

    pub fn reader(&self) -> Client {
        Client::new(self.path("read.sock")).unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.daemon.admin_address().unwrap())
    }

    pub fn tcp(&self, token: &str) -> Client {
        Client::reach(Reach::Tcp { url: self.url().parse().unwrap(), token: SecretString::from(token) }).unwrap()
    }
}

/// A page that is written to and read.
#[derive(Debug, Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What this thread logs goes there, while the guard lives.
pub fn listen(filter: &str, out: Out) -> DefaultGuard {
    // While there is but one dispatcher, tracing asks the thread that meets a call site first whether it is of interest; that may be
    // the thread of another test, which listens to nothing, and then nobody hears of it.
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
    LazyLock::force(&SECOND);
    let (subscriber, _) = subscriber(filter, out, Lines::default(), SystemClock::shared()).unwrap();
    tracing::subscriber::set_default(subscriber)
}
