//! A Chromium without a window, driven through its pipe: messages of JSON that end with a zero.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::LIMIT;

const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
];

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    /// Violations of the policy, exceptions, warnings: everything in the console.
    pub(crate) console: Vec<String>,
    session: String,
    next: u64,
    profile: PathBuf,
}

/// The browser that `TREFOIL_CHROMIUM` names, or that is found.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("TREFOIL_CHROMIUM") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let all = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = all.into_iter().find(|path| path.is_file());
    found.expect("no Chromium in PATH; TREFOIL_CHROMIUM may name one")
}

impl Browser {
    pub(crate) fn start(name: &str) -> Self {
        let profile =
            std::env::temp_dir().join(format!("trefoil-browser-{}-{name}", std::process::id()));
        // The pipe's numbers are 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >&2", "sh"])
            .arg(program())
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = mpsc::channel();
        std::thread::Builder::new()
            .spawn(move || {
                let mut bytes = Vec::new();
                while output.read_until(0, &mut bytes).is_ok_and(|n| n > 0) {
                    let message =
                        serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes));
                    if !message.is_ok_and(|message| sender.send(message).is_ok()) {
                        return;
                    }
                    bytes.clear();
                }
            })
            .unwrap();
        let mut browser = Self {
            child,
            input,
            messages,
            console: Vec::new(),
            session: String::new(),
            next: 0,
            profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method, and waits for its result.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        loop {
            let message = self
                .messages
                .recv_timeout(LIMIT)
                .expect("the browser answers");
            if message["id"] == self.next {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            const SAID: [&str; 3] = [
                "Log.entryAdded",
                "Runtime.exceptionThrown",
                "Runtime.consoleAPICalled",
            ];
            if SAID.iter().any(|said| message["method"] == *said) {
                self.console.push(message["params"].to_string());
            }
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression in the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        self.call("Runtime.evaluate", params)["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&mut self, expression: &str) {
        let start = Instant::now();
        while self.eval(expression) != true {
            if start.elapsed() > LIMIT {
                let text = self.eval("document.body.innerText");
                panic!(
                    "{expression} is not true on this page, console {:?}:\n{text}",
                    self.console
                );
            }
            std::thread::sleep(Duration::from_millis(50)); // between two questions
        }
    }

    /// Writes a picture of the page into the folder that `TREFOIL_SCREENSHOTS` names.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("TREFOIL_SCREENSHOTS") else {
            return;
        };
        // (A low quality: the library's package has little room, and the page is mostly flat.)
        let form = json!({"format": "webp", "quality": 5});
        let picture = self.call("Page.captureScreenshot", form);
        let text = picture["data"].as_str().unwrap();
        let path = PathBuf::from(folder).join(format!("{name}.webp"));
        std::fs::write(path, decode(text)).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Base64.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(digit(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
