//! The admin's doors: the socket, the socket for reading, TCP with a token. All of them are bound before anything is called.

use std::net::SocketAddr;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::admin::{self, BrowserGuard, Tokens};
use crate::config::{self, AdminTokens};
use crate::crash;
use crate::listener::unix::BindError;
use crate::listener::{self, Limits, Socket, unix};
use crate::meters::{AdminMeters, ListenerMeters};
use crate::people;

/// Bound, and not served yet.
#[derive(Debug)]
pub struct AdminDoors {
    doors: Vec<Door>,
    tokens: AdminTokens,
    /// Names that browsers may know opros by.
    hosts: Vec<String>,
}

#[derive(Debug)]
struct Door {
    name: &'static str,
    socket: Socket,
    right: Right,
    meters: ListenerMeters,
}

/// What lets a client in, or what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    All,
    Read,
    ByToken,
}

impl Door {
    fn new(name: &'static str, socket: Socket, right: Right) -> Door {
        Door { name, socket, right, meters: ListenerMeters::default() }
    }
}

impl AdminDoors {
    pub async fn bind(admin: &config::Admin) -> Result<AdminDoors, StartError> {
        let group = gid(admin.group.as_deref(), "group")?;
        let socket = unix::open(&admin.socket, admin.mode, group).await?;
        let mut doors = vec![Door::new("admin", socket, Right::All)];
        if let Some(path) = &admin.read_socket {
            let group = gid(admin.read_group.as_deref(), "read_group")?;
            doors.push(Door::new("read", unix::bind_for(path, admin.read_mode, group).await?, Right::Read));
        }
        if let Some(address) = admin.listen {
            let socket = listener::bind_tcp(address).await.map_err(StartError::Admin)?;
            doors.push(Door::new("tcp", socket, Right::ByToken));
        }
        Ok(AdminDoors { doors, tokens: admin.tokens.clone(), hosts: admin.hosts.clone() })
    }

    pub fn meters(&self) -> impl Iterator<Item = (&'static str, ListenerMeters)> {
        self.doors.iter().map(|door| (door.name, door.meters.clone()))
    }

    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.doors.iter().find_map(|door| door.socket.tcp_address())
    }

    /// Each serves the same routes to whoever may.
    pub fn open(self, routes: &Router, refusals: &AdminMeters, tasks: &TaskTracker, stop: &CancellationToken) {
        let guard = BrowserGuard::new(&self.hosts, refusals.clone());
        for door in self.doors {
            let router = match door.right {
                Right::All => routes.clone(),
                Right::Read => admin::read_only(routes.clone(), refusals.clone()),
                Right::ByToken => {
                    let AdminTokens { all, read } = &self.tokens;
                    Tokens::new(all.as_ref(), read.as_ref(), refusals.clone()).guard(routes.clone())
                }
            };
            // Outermost: a door without it would be open to every page that somebody here looks at.
            let router = guard.clone().over(router);
            let serving = listener::serve_metered(door.socket, router, Limits::default(), door.meters, stop.clone());
            tasks.spawn(crash::watched("admin.listener", serving));
        }
    }
}

fn gid(name: Option<&str>, key: &'static str) -> Result<Option<u32>, BindError> {
    let Some(name) = name else { return Ok(None) };
    let gid = people::group_id(name);
    gid.map(Some).ok_or_else(|| BindError::NoGroup { key, name: name.to_owned() })
}
