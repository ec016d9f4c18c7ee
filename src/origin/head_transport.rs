//! A ureq transport that reads response heads itself and gives ureq a head that contains only the framing.
//!
//! It also normalises chunked bodies, and distinguishes a reset connection from a closed one.

use std::time::Instant;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::chunks::ChunkParser;
use super::exchange::Exchange;
use super::framing::Framing;
use super::head::HeadReader;
use super::truncation;

/// The last connector in ureq's chain.
#[derive(Debug)]
pub(super) struct HeadConnector;

impl<In: Transport> Connector<In> for HeadConnector {
    type Out = HeadTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| HeadTransport {
            inner,
            awaits_head: false,
            chunks: None,
            own_input: OwnInput::default(),
        }))
    }
}

#[derive(Debug)]
pub(super) struct HeadTransport<T> {
    inner: T,
    /// Whether a request was sent and its response head has not been read.
    awaits_head: bool,
    /// The parser of a chunked body, until the end of that body.
    chunks: Option<ChunkParser>,
    own_input: OwnInput,
}

impl<T: Transport> HeadTransport<T> {
    /// Reads the head of a response, stores it in the exchange, and prepares the head for ureq. Returns
    /// `false` at the end of the connection.
    fn read_head(&mut self, exchange: &Exchange, timeout: NextTimeout) -> Result<bool, Error> {
        let mut reader = HeadReader::new(exchange.terms.head_limits, exchange.terms.is_head);
        loop {
            let input = self.inner.buffers().input();
            if !input.is_empty() {
                let (taken, head) = reader.push(input).map_err(|error| Error::Other(Box::new(error)))?;
                self.inner.buffers().input_consume(taken);
                for interim in reader.take_interim() {
                    exchange.pass_on_interim(&interim);
                }
                if let Some(head) = head {
                    self.own_input = OwnInput { bytes: head.for_ureq(), from: 0 };
                    self.chunks = (head.framing == Framing::Chunked).then(ChunkParser::new);
                    exchange.set_head(head);
                    self.awaits_head = false;
                    return Ok(true);
                }
                exchange.note_head_began(reader.has_begun().then(Instant::now));
            }
            if !self.await_inner(timeout)? {
                return Ok(false);
            }
        }
    }

    /// Reads more of a chunked body. Returns `false` at the end of the connection.
    fn read_chunks(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let Some(mut chunks) = self.chunks.take() else { return self.await_inner(timeout) };
        loop {
            let input = self.inner.buffers().input();
            if !input.is_empty() {
                self.own_input.drop_consumed();
                let before = self.own_input.bytes.len();
                let taken =
                    chunks.push(input, &mut self.own_input.bytes).map_err(|error| Error::Io(error.into()))?;
                self.inner.buffers().input_consume(taken);
                if self.own_input.bytes.len() > before {
                    self.chunks = (!chunks.has_ended()).then_some(chunks);
                    return Ok(true);
                }
            }
            if !self.await_inner(timeout)? {
                self.chunks = Some(chunks);
                return Ok(false);
            }
        }
    }

    fn await_inner(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout).map_err(truncation::hide_kind)
    }
}

impl<T: Transport> Transport for HeadTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        if self.own_input.input().is_empty() && self.chunks.is_none() {
            self.inner.buffers()
        } else {
            &mut self.own_input
        }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.awaits_head = true;
        self.chunks = None;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        match Exchange::current() {
            Some(exchange) if self.awaits_head => self.read_head(&exchange, timeout),
            _ => self.read_chunks(timeout),
        }
    }

    fn is_open(&mut self) -> bool {
        // An idle connection keeps no buffer.
        self.own_input = OwnInput::default();
        self.chunks.is_none() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Input for ureq that this module produced. Nothing is written to these buffers.
#[derive(Debug, Default)]
struct OwnInput {
    bytes: Vec<u8>,
    from: usize,
}

impl OwnInput {
    /// Drops the consumed bytes.
    fn drop_consumed(&mut self) {
        self.bytes.drain(..self.from);
        self.from = 0;
    }
}

impl Buffers for OwnInput {
    fn output(&mut self) -> &mut [u8] {
        &mut []
    }

    fn input(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        &mut []
    }

    fn input_appended(&mut self, _: usize) {}

    fn input_consume(&mut self, amount: usize) {
        self.from = (self.from + amount).min(self.bytes.len());
        if self.from == self.bytes.len() {
            self.bytes.clear();
            self.from = 0;
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (&mut [], &mut [])
    }

    fn can_use_input(&self) -> bool {
        !self.input().is_empty()
    }
}
