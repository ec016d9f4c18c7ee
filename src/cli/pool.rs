//! The pool of the command line, and a client for it.

use std::time::SystemTime;

use forwardcache::client::{ClientBuilder, Membership, OnNoPeers};
use forwardcache::origin::OriginBuilder;
use forwardcache::pool::{Discovery, DnsDiscovery, FileDiscovery, Member, RingKind};
use forwardcache::{Client, Error, Origin};

use super::arguments::{PeerList, PoolAccess, RingName, RingOptions};
use super::optional::with;
use super::tokens;

/// The maximum number of redirects that `-L` follows.
pub(crate) const MAX_REDIRECTS: u32 = 20;

impl PeerList {
    /// Returns whether the command line names no pool.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty() && !self.is_external()
    }

    /// Returns whether the list comes from a file or from DNS.
    pub(crate) fn is_external(&self) -> bool {
        self.peers_file.is_some() || self.peers_dns.is_some()
    }

    /// Returns the source of an external list, or `None` if the list is not external. A DNS name without a scheme
    /// gets this one.
    pub(crate) fn discovery(&self, scheme: &str) -> Result<Option<Box<dyn Discovery>>, Error> {
        if let Some(path) = &self.peers_file {
            return Ok(Some(Box::new(FileDiscovery::new(path))));
        }
        let Some(name) = self.base_url(scheme) else { return Ok(None) };
        Ok(Some(Box::new(DnsDiscovery::new(&name)?)))
    }

    /// Returns the DNS name of the list with a scheme. A name without a port stays unchanged, and [`DnsDiscovery`] rejects it.
    pub(crate) fn base_url(&self, scheme: &str) -> Option<String> {
        let name = self.peers_dns.as_ref()?;
        let has_port = name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let stays_unchanged = name.contains("://") || !has_port;
        Some(if stays_unchanged { name.clone() } else { format!("{scheme}://{name}") })
    }

    /// Reads an external list once, for a client that sends only a few requests.
    pub(crate) fn load_into(&self, client: &Client) -> Result<(), Error> {
        if let Some(discovery) = self.discovery("http")? {
            Membership::new(client, discovery).refresh(SystemTime::now())?;
        }
        Ok(())
    }
}

/// Builds a client for the pool of the command line. `on_no_peers` applies if no peer is available.
pub(crate) fn client(
    client: ClientBuilder,
    access: &PoolAccess,
    on_no_peers: OnNoPeers,
) -> Result<Client, Error> {
    let pool = &access.pool;
    let client = with_ring(&pool.ring, client)
        .members(members(&access.peer_list.peers)?)
        .path(&pool.path)
        .accept_unmarked(pool.go_peers)
        .on_no_peers(on_no_peers);
    let client = with(client, access.cacert.as_ref(), ClientBuilder::root_certificates_file);
    let identity = access.cert.as_ref().zip(access.key.as_ref());
    let client = with(client, identity, |client, (certificates, key)| {
        client.client_certificate_files(certificates, key)
    });
    let tokens = tokens::load(access.token_file.as_deref())?;
    let client = with(client, tokens, ClientBuilder::tokens).build()?;
    access.peer_list.load_into(&client)?;
    Ok(client)
}

/// Builds the origin of requests without a pool.
pub(crate) fn origin(access: &PoolAccess) -> Result<Origin, Error> {
    with(Origin::builder(), access.cacert.as_ref(), OriginBuilder::root_certificates_file).build()
}

/// Applies the ring options to a client.
pub(crate) fn with_ring(options: &RingOptions, client: ClientBuilder) -> ClientBuilder {
    let kind = match options.ring {
        RingName::Compatible => RingKind::Compatible,
        RingName::Rendezvous => RingKind::Rendezvous,
    };
    with(client.ring(kind), options.replicas, ClientBuilder::replicas)
}

/// Parses the values of `--peer`.
pub(crate) fn members(peers: &[String]) -> Result<Vec<Member>, Error> {
    let parse = |text: &String| {
        Member::parse(text).map_err(|invalid| {
            let error = Error::from(invalid);
            // The userinfo of an invalid URL cannot be found reliably, so the error does not quote such a URL.
            if text.contains('@') { error } else { error.with_peer(text) }
        })
    };
    peers.iter().map(parse).collect()
}
