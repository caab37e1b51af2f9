//! Names become addresses, and only vetted addresses are connected to.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::is_public;

/// Looks a host's name up.
#[async_trait]
pub trait Names: Send + Sync + Debug {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Asked by the client for every connection: what was vetted is what is connected to, so that a name which changes its
/// addresses in between gains nothing.
#[derive(Debug)]
pub struct Vetted {
    pub names: Arc<dyn Names>,
    pub allow_private: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the name leads to this machine or to a private network")]
struct Private;

#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
struct Nowhere;

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, allow_private) = (Arc::clone(&self.names), self.allow_private);
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await?;
            if addresses.is_empty() {
                return Err(Nowhere.into());
            }
            // One bad answer among good ones is no accident.
            if !allow_private && !addresses.iter().all(|address| is_public(*address)) {
                return Err(Private.into());
            }
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
