//! Builder options that are set only if the command line specifies them.

/// Applies `set` to the builder if there is a value.
pub(super) fn with<B, T>(builder: B, value: Option<T>, set: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}
