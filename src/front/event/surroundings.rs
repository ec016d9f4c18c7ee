//! What the connections of one thread have in common.

use std::sync::Arc;
use std::time::Instant;

use super::mailbox::Mailbox;
use super::upload::Places;
use super::workers::Jobs;
use crate::at_once::{Job, Lane, Turn};
use crate::body::{Driver, Growing};
use crate::cancellation::Cancellation;
use crate::front::options::FrontOptions;
use crate::front::request_head::HeadLimits;
use crate::front::serve::{Responder, Scratch};

/// How much is read from a socket at a time, in bytes.
const INPUT: usize = 64 << 10;

pub(super) struct Surroundings {
    pub(super) responder: Arc<dyn Responder>,
    pub(super) jobs: Jobs,
    pub(super) uploads: Arc<Places>,
    pub(super) options: FrontOptions,
    pub(super) limits: HeadLimits,
    pub(super) mailbox: Mailbox,
    /// What is read goes through here.
    pub(super) input: Box<[u8]>,
    pub(super) scratch: Scratch,
    pub(super) now: Instant,
    pub(super) is_stopping: bool,
    last_exchange: u64,
}

impl Surroundings {
    pub(super) fn new(
        responder: Arc<dyn Responder>,
        jobs: Jobs,
        uploads: Arc<Places>,
        options: FrontOptions,
        mailbox: Mailbox,
    ) -> Self {
        Self {
            responder,
            jobs,
            uploads,
            limits: options.head_limits(),
            options,
            mailbox,
            input: vec![0; INPUT].into(),
            scratch: Scratch::default(),
            now: Instant::now(),
            is_stopping: false,
            last_exchange: 0,
        }
    }

    /// Puts back what somebody may have taken who did not come back.
    pub(super) fn restore(&mut self) {
        if self.input.is_empty() {
            self.input = vec![0; INPUT].into();
        }
    }

    pub(super) fn next_exchange(&mut self) -> u64 {
        self.last_exchange += 1;
        self.last_exchange
    }

    /// Lets go of a body that is not read to its end, which may take a while: somebody else finishes it, or
    /// gives it up.
    pub(super) fn let_go(&self, stream: Box<dyn Growing>) {
        let unsent = stream.driver().and_then(|driver| self.jobs.offer(transfer(driver)));
        drop(stream);
        // In this order: as long as somebody drives it, leaving it does not wait.
        drop(unsent);
    }
}

/// The job of moving a body on.
pub(super) fn transfer(driver: Driver) -> Job {
    Job::new(Lane::Transfer, Cancellation::new(), move |turn| {
        if turn == Turn::Pool {
            driver();
        }
    })
}
