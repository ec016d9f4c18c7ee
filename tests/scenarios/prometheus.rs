//! A real Prometheus with the configuration of `contrib/prometheus`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::process::Process;
use crate::support::wait_until;

const TOKEN: &str = "a-token-of-the-pool";

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// A Prometheus that scrapes one target ten times a second.
struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts Prometheus with the shipped configuration, in which the target, the token and the interval are replaced.
    fn start(target: SocketAddr, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("token"), format!("{token}\n")).unwrap();
        let mut configuration = fs::read_to_string(contrib("prometheus/prometheus.yml")).unwrap();
        for (shipped, tested) in [
            ("127.0.0.1:3001", target.to_string()),
            ("/etc/prometheus/forwardcache.token", path("token")),
            ("scrape_interval: 15s", "scrape_interval: 100ms".to_owned()),
        ] {
            assert_eq!(configuration.matches(shipped).count(), 1, "{shipped}");
            configuration = configuration.replace(shipped, &tested);
        }
        fs::write(path("prometheus.yml"), configuration).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data"))).arg("--web.listen-address=127.0.0.1:0");
        let process = Process::start(command).expect("prometheus is installed (Debian package prometheus)");
        let line = process.wait_for_line("msg=\"Listening on\"");
        let address = line.split("address=").nth(1).and_then(|address| address.trim().parse().ok());
        let address = address.unwrap_or_else(|| panic!("{line}"));
        process.wait_for_line("Server is ready");
        Self { _process: process, address, _folder: folder }
    }

    fn get(&self, path: &str) -> Value {
        let response = send(self.address, "GET", path, "");
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        answer["data"].clone()
    }

    /// Returns the value of the only sample that an expression selects.
    fn value(&self, expression: &str) -> Option<f64> {
        let data = self.get(&format!("/api/v1/query?query={}", escaped(expression)));
        match data["result"].as_array().map(Vec::as_slice) {
            Some([sample]) => sample["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// Returns the only target.
    fn target(&self) -> Value {
        let targets = self.get("/api/v1/targets?state=active");
        assert_eq!(targets["activeTargets"].as_array().map(Vec::len), Some(1), "{targets}");
        targets["activeTargets"][0].clone()
    }
}

#[test]
fn prometheus_scrapes_a_peer_with_its_token() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let token_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(token_file.path(), TOKEN).unwrap();
    let options = ["--admin", "127.0.0.1:0", "--token-file", token_file.path().to_str().unwrap()];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let line = peer.process.wait_for_line("metrics on http://");
    let admin = line.trim_start_matches("metrics on http://").trim_end_matches("/metrics").parse().unwrap();
    let ask = || {
        let target = format!("/proxy?q={}", escaped(&origin.url("/a")));
        let fields = format!("Proxy-Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(send(peer.address, "GET", &target, &fields).status, 200);
    };
    (0..4).for_each(|_| ask());

    let prometheus = Prometheus::start(admin, TOKEN);
    let hits = "forwardcache_requests_total{outcome=\"hit\",job=\"forwardcache\"}";
    wait_until("the hits are not scraped", || prometheus.value(hits) == Some(3.0));
    assert_eq!(prometheus.value("forwardcache_requests_total{outcome=\"miss\"}"), Some(1.0));
    assert_eq!(prometheus.value("forwardcache_request_duration_seconds_count{outcome=\"hit\"}"), Some(3.0));
    assert_eq!(prometheus.value("up"), Some(1.0));
    let target = prometheus.target();
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    ask();
    wait_until("the next hit is not scraped", || prometheus.value(hits) == Some(4.0));

    let stranger = Prometheus::start(admin, "another-token-of-a-pool");
    wait_until("the peer is not scraped", || stranger.value("up").is_some());
    let target = stranger.target();
    assert_eq!((stranger.value("up"), stranger.value(hits)), (Some(0.0), None));
    assert!(target["lastError"].as_str().unwrap().contains("401"), "{target}");
}
