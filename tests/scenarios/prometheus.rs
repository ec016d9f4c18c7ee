//! A real Prometheus with the configuration and the rules of `contrib/prometheus`, and the dashboard of `contrib/grafana`.

#[cfg(feature = "redis")]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(feature = "redis")]
use forwardcache::server::ServerConfig;
use serde_json::Value;
use tempfile::TempDir;

#[cfg(feature = "redis")]
use crate::local::{LocalPeer, listen};
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
        for (shipped, count, tested) in [
            ("127.0.0.1:3001", 1, target.to_string()),
            ("/etc/prometheus/forwardcache.token", 1, path("token")),
            ("_interval: 15s", 2, "_interval: 100ms".to_owned()),
        ] {
            assert_eq!(configuration.matches(shipped).count(), count, "{shipped}");
            configuration = configuration.replace(shipped, &tested);
        }
        for rules in ["rules.yml", "alerts.yml"] {
            fs::copy(contrib("prometheus").join(rules), path(rules)).unwrap();
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

    /// Returns the samples that an expression selects.
    fn samples(&self, expression: &str) -> Vec<Value> {
        let data = self.get(&format!("/api/v1/query?query={}", escaped(expression)));
        data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}")).clone()
    }

    /// Returns the value of the only sample that an expression selects.
    fn value(&self, expression: &str) -> Option<f64> {
        match self.samples(expression).as_slice() {
            [sample] => sample["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// Returns the rules of all groups.
    fn rules(&self) -> Vec<Value> {
        let groups = self.get("/api/v1/rules");
        let groups = groups["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// Returns the only target.
    fn target(&self) -> Value {
        let targets = self.get("/api/v1/targets?state=active");
        assert_eq!(targets["activeTargets"].as_array().map(Vec::len), Some(1), "{targets}");
        targets["activeTargets"][0].clone()
    }
}

/// Returns the strings of the dashboard that name metrics, except the queries of its variables.
fn dashboard_expressions() -> Vec<String> {
    let dashboard = fs::read_to_string(contrib("grafana/forwardcache.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    for arguments in [&["check", "rules", "rules.yml", "alerts.yml"][..], &["test", "rules", "tests.yml"]] {
        let promtool = Command::new("promtool").args(arguments).current_dir(contrib("prometheus")).output();
        let output = promtool.expect("promtool is installed (Debian package prometheus)");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success() && text.contains("SUCCESS"), "{arguments:?}: {text}");
    }
}

/// The labels of each metric, with their values.
#[cfg(feature = "redis")]
type Exposition = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Reads `label="value"` pairs, also with the operators of a selector.
#[cfg(feature = "redis")]
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut parts = text.split('"');
    while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
        let label = label.trim_matches(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        pairs.push((label.to_owned(), value.to_owned()));
    }
    pairs
}

#[cfg(feature = "redis")]
fn exposition(text: &str) -> Exposition {
    let mut metrics = Exposition::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let metric = metrics.entry(name.to_owned()).or_default();
        for (label, value) in pairs(labels) {
            metric.entry(label).or_default().insert(value);
        }
    }
    metrics
}

/// Returns the names of metrics, labels and label values in expressions and templates that no peer has.
#[cfg(feature = "redis")]
fn unknown(text: &str, known: &Exposition, recorded: &BTreeSet<String>) -> Vec<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let name_at = |rest: &str| rest.chars().take_while(|letter| is_name(*letter)).collect::<String>();
    let mut unknown = Vec::new();
    // Prometheus adds the first two.
    let mut all: BTreeSet<&str> = ["job", "instance"].into();
    all.extend(known.values().flat_map(|labels| labels.keys().map(String::as_str)));
    for (at, _) in text.match_indices("forwardcache_") {
        let start = text[..at].rfind(|letter| !is_name(letter)).map_or(0, |before| before + 1);
        let name = name_at(&text[start..]);
        let Some(labels) = known.get(&name) else {
            unknown.extend((!recorded.contains(&name)).then_some(name));
            continue;
        };
        let rest = &text[start + name.len()..];
        let selector = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        for (label, value) in
            pairs(selector).into_iter().filter(|(label, _)| label != "job" && label != "instance")
        {
            let values = labels.get(&label);
            unknown.extend(value.split('|').filter_map(|value| {
                let is_known = values.is_some_and(|values| values.contains(value));
                (!is_known).then(|| format!("{name}{{{label}={value}}}"))
            }));
        }
    }
    for clause in ["by (", "without (", "ignoring ("] {
        let labels = text.split(clause).skip(1).filter_map(|rest| rest.split(')').next());
        let labels = labels.flat_map(|labels| labels.split(',')).map(str::trim);
        unknown.extend(labels.filter(|label| !all.contains(label)).map(str::to_owned));
    }
    let shown = text.split("{{").skip(1).map(|rest| rest.trim_start().trim_start_matches("$labels."));
    let shown = shown.map(name_at).filter(|label| !label.is_empty());
    unknown.extend(shown.filter(|label| !all.contains(label.as_str())));
    unknown
}

/// Returns all strings of a JSON value.
#[cfg(feature = "redis")]
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(members) => members.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[cfg(feature = "redis")]
#[test]
fn rules_and_dashboard_name_only_metrics_and_labels_of_a_peer() {
    use forwardcache::client::NearCache;
    use forwardcache::store::{DiskStore, RedisStore};

    let folder = tempfile::tempdir().unwrap();
    let disk = DiskStore::open(folder.path()).unwrap();
    // Nothing is requested, so Redis is never asked.
    let redis = RedisStore::builder("redis://127.0.0.1:1").build().unwrap();
    let near_cache = NearCache::new().memory(1 << 20);
    let peer =
        LocalPeer::start_with(|builder| builder.disk_store(&disk).redis(&redis).near_cache(near_cache));
    peer.peer.set_pool([peer.url(), "http://127.0.0.1:1".to_owned()]).unwrap();
    let admin = peer.peer.serve_admin_on(listen(), ServerConfig::new().io_threads(1)).unwrap();
    let metrics = send(admin.local_addr(), "GET", "/metrics", "");
    let known = exposition(&String::from_utf8(metrics.body).unwrap());

    let rules =
        ["rules.yml", "alerts.yml"].map(|name| fs::read_to_string(contrib("prometheus").join(name)).unwrap());
    let recorded = rules[0].lines().filter_map(|line| line.split_once("record: "));
    let recorded: BTreeSet<_> = recorded.map(|(_, name)| name.to_owned()).collect();
    let dashboard = fs::read_to_string(contrib("grafana/forwardcache.json")).unwrap();
    let dashboard = strings(&serde_json::from_str(&dashboard).unwrap());
    let texts: Vec<_> = rules.into_iter().chain(dashboard).collect();
    let named = texts.iter().map(|text| text.matches("forwardcache_").count()).sum::<usize>();
    assert!(named > 40 && recorded.len() == 3, "{named} {recorded:?}");
    let missing: Vec<_> = texts.iter().flat_map(|text| unknown(text, &known, &recorded)).collect();
    assert!(missing.is_empty(), "these do not exist: {missing:?}");

    let wrong = "sum by (colour, le) (rate(forwardcache_nonsense_total[5m])) + forwardcache_requests_total{outcome=~\"hit|lost\",size=\"1\"} {{state}} {{ $labels.shape }}";
    assert_eq!(
        unknown(wrong, &known, &recorded),
        [
            "forwardcache_nonsense_total",
            "forwardcache_requests_total{outcome=lost}",
            "forwardcache_requests_total{size=1}",
            "colour",
            "shape"
        ]
    );
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

    wait_until("the rules are not evaluated", || {
        prometheus.rules().iter().all(|rule| rule["health"] == "ok")
    });
    assert_eq!(prometheus.rules().len(), 13);
    wait_until("the hit ratio is not recorded", || {
        prometheus.value("instance:forwardcache_hit_ratio:rate5m").is_some_and(|ratio| ratio > 0.5)
    });
    for expression in dashboard_expressions() {
        let asked = expression.replace("$job", ".+").replace("$instance", ".+");
        let asked = asked.replace("$__rate_interval", "1m");
        let is_absent =
            asked.contains("redis_") || asked.contains("corrupt_entries") || asked.contains("peer_up");
        assert!(is_absent == prometheus.samples(&asked).is_empty(), "{asked}");
    }

    let stranger = Prometheus::start(admin, "another-token-of-a-pool");
    wait_until("the peer is not scraped", || stranger.value("up").is_some());
    let target = stranger.target();
    assert_eq!((stranger.value("up"), stranger.value(hits)), (Some(0.0), None));
    assert!(target["lastError"].as_str().unwrap().contains("401"), "{target}");
}
