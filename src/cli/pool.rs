//! A client of the pool that the command line names.

use forwardcache::{Client, Error};

use super::arguments::Reaching;
use super::tokens;

pub(crate) fn client(peers: &[String], reaching: &Reaching) -> Result<Client, Error> {
    let pool = &reaching.pool;
    let mut client = Client::builder().pool(peers).path(&pool.path).replicas(pool.replicas.get());
    if let Some(path) = &reaching.ca_file {
        client = client.root_certificates_file(path);
    }
    if let (Some(certificates), Some(key)) = (&reaching.cert_file, &reaching.key_file) {
        client = client.client_certificate_files(certificates, key);
    }
    if let Some(tokens) = tokens::of(reaching.token_file.as_deref())? {
        client = client.tokens(tokens);
    }
    client.build()
}
