//! Clients and requests that get nothing through prefix form, a mirror or the proxy.
