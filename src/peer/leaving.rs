//! Announces that a peer is leaving its pool.

use log::info;

use super::member::Peer;

impl Peer {
    /// Announces that this peer is leaving, so that clients and other peers stop sending it requests. It notifies the
    /// other peers, for at most a second. From now on `/healthz` responds with 503, and every response states that this
    /// peer is leaving. The peer keeps serving: the program gives its clients some time and then shuts its server down.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://10.0.0.1:3000").build()?;
    /// let server = peer.serve("10.0.0.1:3000")?;
    /// // To shut down:
    /// peer.leave();
    /// std::thread::sleep(Duration::from_secs(2));
    /// server.shutdown();
    /// server.join();
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn leave(&self) {
        if self.inner.proxy.start_leaving() {
            let count = self.client().announce_leaving(self.self_url());
            info!("leaving the pool: notified {count} of the other peers");
        }
    }
}
