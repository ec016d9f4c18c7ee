//! Chromium, controlled over a pipe (the Chrome DevTools Protocol).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::TEST_TIMEOUT;

/// A browser with one page. Dropping it ends the browser.
pub(crate) struct Browser {
    child: Child,
    requests: ChildStdin,
    messages: Receiver<Value>,
    /// Messages of the browser about the page that were received so far.
    events: Vec<Value>,
    session: Option<String>,
    last: u64,
    _profile: TempDir,
}

impl Browser {
    /// # Panics
    ///
    /// If Chromium is not installed or does not start: no test is skipped.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts the browser with further options.
    ///
    /// # Panics
    ///
    /// Like [`start`](Self::start).
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // The protocol uses the descriptors 3 and 4. `exec` keeps the process id, so that the browser can be ended.
        command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 >&2", "chromium", "--remote-debugging-pipe"]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--hide-scrollbars", &format!("--user-data-dir={}", profile.path().display())]);
        command.args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("sh exists");
        let requests = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let message = serde_json::from_slice(&std::mem::take(&mut message));
                if message.is_ok_and(|message| sender.send(message).is_err()) {
                    return;
                }
            }
        });
        let (events, last) = (Vec::new(), 0);
        let mut browser = Self { child, requests, messages, events, session: None, last, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and returns its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.requests.write_all(format!("{message}\0").as_bytes()).expect("chromium is installed and runs");
        loop {
            let message = self.receive();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn receive(&self) -> Value {
        let message = self.messages.recv_timeout(TEST_TIMEOUT * 3);
        message.expect("chromium is installed (Debian package chromium) and answers")
    }

    /// Sets the size of the window, and whether pages are dark.
    pub(crate) fn set_screen(&mut self, width: u32, height: u32, is_dark: bool) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Opens a page and blocks until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        self.wait_for_load();
    }

    /// Blocks until a page is loaded, if it was not loaded since the last call.
    pub(crate) fn wait_for_load(&mut self) {
        let is_load = |event: &Value| event["method"] == "Page.loadEventFired";
        while !self.events.iter().any(is_load) {
            let message = self.receive();
            self.events.push(message);
        }
        self.events.retain(|event| !is_load(event));
    }

    /// Returns the value of an expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", &json!({"expression": expression, "returnByValue": true}));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Returns the document of the page as HTML.
    pub(crate) fn html(&mut self) -> String {
        // Works also in a page that may not run scripts.
        let document = self.call("DOM.getDocument", &json!({"depth": 0}));
        let html = self.call("DOM.getOuterHTML", &json!({"nodeId": document["root"]["nodeId"]}));
        html["outerHTML"].as_str().unwrap().to_owned()
    }

    /// Clicks the element with this selector. Works also in a page that may not run scripts.
    pub(crate) fn click(&mut self, selector: &str) {
        let document = self.call("DOM.getDocument", &json!({"depth": 0}));
        let query = json!({"nodeId": document["root"]["nodeId"], "selector": selector});
        let node = self.call("DOM.querySelector", &query);
        let quads = self.call("DOM.getContentQuads", &json!({"nodeId": node["nodeId"]}));
        let at = |index: usize| quads["quads"][0][index].as_f64().expect("the element is visible");
        let (x, y) = (f64::midpoint(at(0), at(4)), f64::midpoint(at(1), at(5)));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Presses a key of the keyboard.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Returns the page as a PNG image, in its whole length.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let image = self.call("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        STANDARD.decode(image["data"].as_str().unwrap()).unwrap()
    }

    /// Returns the messages of the console, errors of the page, and violations of its policy.
    pub(crate) fn console(&self) -> Vec<String> {
        let methods = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        let is_console = |event: &&Value| methods.iter().any(|method| event["method"] == *method);
        self.events.iter().filter(is_console).map(ToString::to_string).collect()
    }

    /// Returns the URLs that the browser has requested for the page.
    pub(crate) fn requested(&self) -> Vec<String> {
        let requests = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        requests.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // These fail only if the browser has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
