//! RFC 9111 as pure questions over fields and a given time.
//!
//! | file | the question |
//! |---|---|
//! | `validity` | how old is it, and is it fresh? |
//! | `variant` | which stored response answers this request? |

mod validity;
mod variant;

pub use validity::{LifetimeSource, Validity};
pub use variant::Variant;
