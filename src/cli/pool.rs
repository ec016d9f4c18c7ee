//! A client of the pool that the command line names.

use std::path::Path;

use forwardcache::{Client, Error};

use super::arguments::PoolOptions;

pub(crate) fn client(
    peers: &[String],
    options: &PoolOptions,
    ca_file: Option<&Path>,
) -> Result<Client, Error> {
    let client = Client::builder().pool(peers).path(&options.path).replicas(options.replicas.get());
    match ca_file {
        Some(path) => client.root_certificates_file(path).build(),
        None => client.build(),
    }
}
