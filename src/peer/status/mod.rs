//! The state of a peer for operators: as text, as JSON and as a page.
//!
//! | file | content |
//! |---|---|
//! | `report` | [`Report`]: the state at one moment |
//! | `text` | for people at a terminal |
//! | `json` | for programs |
//! | `plot` | the hit ratio of the last hour as SVG; pure |
//! | `page` | for browsers: no script, no resource of another origin |

mod json;
mod page;
mod plot;
mod report;
mod text;

pub(super) use page::{PAGE_POLICY, STYLE, result_page};
pub(super) use report::Report;
