//! The operator's choice for request fields that are not standardised.

/// How request fields are treated that are not standardised and not listed in
/// [`Rules::known_fields`](crate::policy::Rules::known_fields), for requests whose response may be stored.
///
/// RFC 9111 requires an origin to name the request fields that it uses in `Vary`. If an origin does not, a client can
/// make it generate a response from such a field that all other clients then get. [`Vary`](Self::Vary) and
/// [`Drop`](Self::Drop) prevent that, for caches whose clients do not trust each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownFields {
    /// The fields are forwarded, and the origin's `Vary` is trusted. The default.
    #[default]
    Forward,
    /// The fields are forwarded and select the response as if `Vary` named them: a request with other values gets
    /// another response.
    Vary,
    /// The fields are not forwarded.
    Drop,
}
