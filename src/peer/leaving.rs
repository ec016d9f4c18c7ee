//! A peer that is about to end.

use log::info;

use super::member::Peer;

impl Peer {
    /// Tells the pool that this peer is about to end, so that nobody comes to it in vain: its health says so from now
    /// on, the other peers are told, for a second at most, and whoever asks is told with the answer. It answers all
    /// the same. For a program that then gives its clients a moment, and shuts its front down.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use forwardcache::Peer;
    ///
    /// let peer = Peer::builder("http://10.0.0.1:3000").build()?;
    /// let serving = peer.serve("10.0.0.1:3000")?;
    /// // When it is to end:
    /// peer.leave();
    /// std::thread::sleep(Duration::from_secs(2));
    /// serving.shutdown();
    /// serving.join();
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn leave(&self) {
        if self.inner.proxy.begins_to_leave() {
            let told = self.client().tell_of_leaving(self.self_url());
            info!("leaving the pool: {told} of the other peers are told");
        }
    }
}
