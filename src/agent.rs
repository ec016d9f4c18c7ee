//! stand-in
/// a
pub fn agent() {}
/// a
pub fn agent_with_config() {}
