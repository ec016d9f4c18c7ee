//! The pages of `docs/`, with their examples tested.
//!
//! Read [`architecture`] first to change the code, and [`operation`] first to run peers.

/// Includes a page and redirects its links to other pages to their modules here.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = "[architecture]: crate::guide::architecture"]
        #[doc = "[guide]: crate::guide::operation"]
        #[doc = "[clients]: crate::guide::clients"]
        #[doc = "[pools]: crate::guide::pools"]
        #[doc = "[security]: crate::guide::security"]
        #[doc = "[caching]: crate::guide::caching"]
        #[doc = "[performance]: crate::guide::performance"]
        #[doc = ""]
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

page!(architecture, "../docs/architecture.md");
page!(operation, "../docs/guide.md");
page!(packages, "../docs/packages.md");
page!(clients, "../docs/clients.md");
page!(pools, "../docs/pools.md");
page!(stores, "../docs/stores.md");
page!(security, "../docs/security.md");
page!(caching, "../docs/caching.md");
page!(performance, "../docs/performance.md");
page!(go_package, "../docs/go-package.md");
