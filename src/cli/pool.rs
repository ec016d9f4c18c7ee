//! The pool that the command line names, and a client of it.

use std::time::SystemTime;

use forwardcache::{
    Client, ClientBuilder, Discovery, DnsDiscovery, Error, FileDiscovery, Member, Membership, OnNoPeers,
    RingKind,
};

use super::arguments::{Listed, Reaching, RingName, RingOptions};
use super::server::with;
use super::tokens;

impl Listed {
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.peers_file.is_some() || self.peers_dns.is_some()
    }

    /// The list that is kept elsewhere, if one is. A name without a scheme is that of peers that speak this one.
    pub(crate) fn members(&self, scheme: &str) -> Result<Option<Box<dyn Discovery>>, Error> {
        if let Some(path) = &self.peers_file {
            return Ok(Some(Box::new(FileDiscovery::new(path))));
        }
        let Some(name) = self.base_url(scheme) else { return Ok(None) };
        Ok(Some(Box::new(DnsDiscovery::new(&name)?)))
    }

    /// How a client is told of it, with a space in front.
    pub(crate) fn typed(&self, scheme: &str) -> Option<String> {
        match (&self.peers_file, self.base_url(scheme)) {
            (Some(path), _) => Some(format!(" --peers-file {}", path.display())),
            (None, name) => name.map(|name| format!(" --peers-dns {name}")),
        }
    }

    /// The name with its scheme. What has no port either is left as it is, to be refused.
    fn base_url(&self, scheme: &str) -> Option<String> {
        let name = self.peers_dns.as_ref()?;
        let has_port = name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let is_whole = name.contains("://") || !has_port;
        Some(if is_whole { name.clone() } else { format!("{scheme}://{name}") })
    }

    /// Reads the list once, for a client that is soon gone.
    pub(crate) fn read_into(&self, client: &Client) -> Result<(), Error> {
        if let Some(members) = self.members("http")? {
            Membership::new(client, members).refresh(SystemTime::now())?;
        }
        Ok(())
    }
}

/// A client of the pool that is named, which does this when no peer is left.
pub(crate) fn client(client: ClientBuilder, reaching: &Reaching, last: OnNoPeers) -> Result<Client, Error> {
    let pool = &reaching.pool;
    let client = placing(&pool.ring, client)
        .members(members(&reaching.listed.peers)?)
        .path(&pool.path)
        .accept_unmarked(pool.go_peers)
        .on_no_peers(last);
    let client = with(client, reaching.ca_file.as_ref(), ClientBuilder::root_certificates_file);
    let identity = reaching.cert_file.as_ref().zip(reaching.key_file.as_ref());
    let client = with(client, identity, |client, (certificates, key)| {
        client.client_certificate_files(certificates, key)
    });
    let tokens = tokens::of(reaching.token_file.as_deref())?;
    let client = with(client, tokens, ClientBuilder::tokens).build()?;
    reaching.listed.read_into(&client)?;
    Ok(client)
}

/// A client that places URLs so.
pub(crate) fn placing(options: &RingOptions, client: ClientBuilder) -> ClientBuilder {
    with(client.ring(kind(options.ring)), options.replicas, ClientBuilder::replicas)
}

fn kind(name: RingName) -> RingKind {
    match name {
        RingName::Compatible => RingKind::Compatible,
        RingName::Rendezvous => RingKind::Rendezvous,
    }
}

/// Peers as they were typed. What cannot be read cannot be relied on to hide its userinfo either.
pub(crate) fn members(peers: &[String]) -> Result<Vec<Member>, Error> {
    let read = |text: &String| {
        Member::parse(text).map_err(|bad| {
            let error = Error::from(bad);
            if text.contains('@') { error } else { error.with_peer(text) }
        })
    };
    peers.iter().map(read).collect()
}
