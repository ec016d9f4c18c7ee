//! A client of the pool that the command line names.

use forwardcache::{Client, Error, Marks, NoPeerLeft};

use super::arguments::Asking;
use super::tokens;

pub(crate) fn client(
    peers: &[String],
    asking: &Asking,
    last: NoPeerLeft,
    marks: Marks,
) -> Result<Client, Error> {
    let pool = &asking.pool;
    let mut client = Client::builder()
        .pool(peers)
        .path(&pool.path)
        .replicas(pool.replicas.get())
        .no_peer_left(last)
        .marks(marks);
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
