//! Tunnels of CONNECT requests: how many are opened per second, and how fast 1 GiB passes through one, also compared
//! with a direct connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use crate::figures::median;
use crate::interruption;
use crate::servers::{Kind, Proxy};
use crate::{Result, tls};

pub(crate) const KINDS: [Kind; 2] = [Kind::Forwardcache, Kind::Squid];

/// Bytes that pass through one tunnel.
const LENGTH: u64 = 1 << 30;

/// Threads that open tunnels.
const CLIENTS: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) tunnels_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// CPU seconds of the server for 1 GiB.
    pub(crate) cpu: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The measurements of each server; without a server for direct connections.
    pub(crate) servers: Vec<(Option<Kind>, Vec<Measurement>)>,
}

impl Outcome {
    pub(crate) fn median(&self, kind: Option<Kind>, of: fn(&Measurement) -> f64) -> Option<f64> {
        let (_, measurements) = self.servers.iter().find(|(known, _)| *known == kind)?;
        median(measurements.iter().map(of))
    }

    /// Returns forwardcache's figure divided by Squid's, the median over the rounds.
    pub(crate) fn ratio(&self, of: fn(&Measurement) -> f64) -> Option<f64> {
        let all = |kind| self.servers.iter().find(|(known, _)| *known == Some(kind)).map(|(_, all)| all);
        let rounds = all(Kind::Forwardcache)?.iter().zip(all(Kind::Squid)?);
        median(rounds.map(|(own, other)| of(own) / of(other)))
    }
}

/// The servers behind the proxies: one sends 1 GiB after the first bytes of the client, the other 5 bytes.
struct Ends {
    long: SocketAddr,
    short: SocketAddr,
    hello: Vec<u8>,
}

pub(crate) fn measure(kinds: &[Kind], rounds: u32, seconds: u32) -> Result<Outcome> {
    let config = tls::config(false)?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::clone(&config), "localhost".try_into()?)?.write_tls(&mut hello)?;
    let ends = Ends { long: serve(LENGTH)?, short: serve(5)?, hello };
    let all: Vec<Option<Kind>> = [None].into_iter().chain(kinds.iter().copied().map(Some)).collect();
    let mut outcome = Outcome { servers: all.iter().map(|kind| (*kind, Vec::new())).collect() };
    for round in 1..=rounds {
        for (kind, measurements) in &mut outcome.servers {
            interruption::check()?;
            let ports = [ends.long.port(), ends.short.port()];
            let proxy = kind.map(|kind| Proxy::start(kind, &ports)).transpose()?;
            let measurement = measure_one(proxy.as_ref(), &ends, seconds)?;
            let name = kind.map_or("direct".to_owned(), |kind| kind.to_string());
            eprintln!("tunnels, round {round}, {name}: {measurement:?}");
            measurements.push(measurement);
        }
    }
    Ok(outcome)
}

fn measure_one(proxy: Option<&Proxy>, ends: &Ends, seconds: u32) -> Result<Measurement> {
    let address = proxy.map(|proxy| proxy.address);
    let duration = Duration::from_secs(seconds.into());
    let started = Instant::now();
    let counts: io::Result<Vec<u64>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while started.elapsed() < duration {
                        transfer(address, ends.short, &ends.hello, 5)?;
                        count += 1;
                    }
                    io::Result::Ok(count)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("the client does not panic")).collect()
    });
    let tunnels_per_second = counts?.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64();
    let cpu = || proxy.map_or(0.0, |proxy| proxy.usage().cpu_seconds);
    let (before, started) = (cpu(), Instant::now());
    transfer(address, ends.long, &ends.hello, LENGTH)?;
    let bytes_per_second = LENGTH as f64 / started.elapsed().as_secs_f64();
    Ok(Measurement { tunnels_per_second, bytes_per_second, cpu: cpu() - before })
}

/// Opens a tunnel, or connects directly without a proxy, and reads this number of bytes.
fn transfer(proxy: Option<SocketAddr>, end: SocketAddr, hello: &[u8], length: u64) -> io::Result<()> {
    let mut socket = TcpStream::connect(proxy.unwrap_or(end))?;
    socket.set_nodelay(true)?;
    if proxy.is_some() {
        let target = format!("localhost:{}", end.port());
        socket.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
    }
    socket.write_all(hello)?;
    let (mut buffer, mut received) = (vec![0; 256 << 10], 0);
    loop {
        match socket.read(&mut buffer)? {
            0 if received == length => return Ok(()),
            0 => return Err(io::Error::other(format!("{received} bytes arrived instead of {length}"))),
            count => received += count as u64,
        }
    }
}

/// Starts a server that sends this number of bytes after the first bytes of each client.
fn serve(length: u64) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming().map_while(io::Result::ok) {
            thread::spawn(move || respond(socket, length));
        }
    });
    Ok(address)
}

fn respond(mut socket: TcpStream, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    if socket.read(&mut buffer)? == 0 {
        return Ok(());
    }
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        socket.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    socket.shutdown(Shutdown::Write)?;
    // The rest of the first bytes must not cause a reset.
    while socket.read(&mut buffer)? > 0 {}
    Ok(())
}
