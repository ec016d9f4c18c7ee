//! The pool that the command line names, and a client of it.

use forwardcache::{Client, ClientBuilder, Error, Member, RingKind};

use super::arguments::{Asking, RingName, RingOptions};
use super::tokens;

pub(crate) fn client(peers: &[String], asking: &Asking) -> Result<Client, Error> {
    let pool = &asking.pool;
    let mut client = placing(&pool.ring, Client::builder()).members(members(peers)?).path(&pool.path);
    if let Some(path) = &asking.ca_file {
        client = client.root_certificates_file(path);
    }
    if let (Some(certificates), Some(key)) = (&asking.cert_file, &asking.key_file) {
        client = client.client_certificate_files(certificates, key);
    }
    if let Some(tokens) = tokens::of(asking.token_file.as_deref())? {
        client = client.tokens(tokens);
    }
    client.build()
}

/// A client that places URLs so.
pub(crate) fn placing(options: &RingOptions, client: ClientBuilder) -> ClientBuilder {
    let client = client.ring(kind(options.ring));
    match options.replicas {
        Some(replicas) => client.replicas(replicas.get()),
        None => client,
    }
}

fn kind(name: RingName) -> RingKind {
    match name {
        RingName::Compatible => RingKind::Compatible,
        RingName::Balanced => RingKind::Balanced,
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
