//! What SIGHUP reads again: certificates, tokens, the list of peers, the configuration file.

use forwardcache::client::MembershipWatcher;
use forwardcache::pool::Tokens;
use forwardcache::server::ServerTls;
use forwardcache::{Peer, Result};

use super::arguments::{Command, Serve};
use super::config::Sources;
use super::failure::{self, Failure};
use super::{pool, serve};

/// Everything that a running peer can read again.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) peer: Peer,
    pub(super) has_certificates: bool,
    pub(super) tls: Option<ServerTls>,
    pub(super) tokens: Option<Tokens>,
    pub(super) operator_tokens: Option<Tokens>,
    pub(super) watcher: Option<MembershipWatcher>,
    pub(super) sources: Sources,
}

impl Reload {
    /// Reads everything again and logs what changed. What is invalid does not change.
    pub(super) fn run(&mut self) {
        let results = [
            self.tls.as_ref().map(|tls| ("certificates", tls.reload())),
            self.has_certificates
                .then(|| ("certificates for other peers and origins", self.peer.reload_certificates())),
            self.tokens.as_ref().map(|tokens| ("tokens", tokens.reload())),
            self.operator_tokens.as_ref().map(|tokens| ("operator tokens", tokens.reload())),
        ];
        for (subject, result) in results.into_iter().flatten() {
            if let Err(error) = result {
                log::error!("cannot reload the {subject}: {error:#}; the previous ones stay in use");
            } else {
                log::info!("reloaded the {subject}");
            }
        }
        if let Some(watcher) = &self.watcher {
            watcher.refresh_soon();
        }
        if let Err(failure) = self.options() {
            log::error!("cannot reload the configuration: {failure}; the previous options stay in use");
        }
    }

    /// Applies options of the configuration file that can change while the peer serves.
    fn options(&mut self) -> std::result::Result<(), Failure> {
        let (arguments, sources, changed) = self.sources.reread().map_err(failure::Usage::into_failure)?;
        let Command::Serve(arguments) = arguments.command else { return Ok(()) };
        if !changed.is_empty() {
            serve::check(&arguments)?;
        }
        for option in &changed {
            if apply(&self.peer, &arguments, option)? {
                log::info!("applied the new --{option}");
            } else {
                log::warn!("--{option} has changed: restart to apply it");
            }
        }
        self.sources = sources;
        Ok(())
    }
}

/// Applies one option to the peer. Returns whether it can change while the peer serves.
fn apply(peer: &Peer, arguments: &Serve, option: &str) -> Result<bool> {
    match option {
        "origins" => peer.set_origins(arguments.origins.clone().unwrap_or_default()),
        "offline" => peer.cache().set_offline(arguments.cache.offline),
        "peer" if !arguments.peer_list.peers.is_empty() => {
            peer.set_members(pool::members(&arguments.peer_list.peers)?)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
